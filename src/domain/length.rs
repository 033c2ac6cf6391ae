//! How long a model's vectors are, learned from its answers: one that answers otherwise is another model.

/// The length of a model's own vectors, in values.
///
/// The first answer's is believed, since nothing contradicts it, but not for ever: until a second answer has said the same, two others in a
/// row that agree with each other overrule it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lengths {
    known: Option<usize>,
    /// Whether more than one answer said so.
    confirmed: bool,
    /// What the last answer said instead.
    other: Option<usize>,
}

/// What an answer's length says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The length that is known.
    Same,
    /// Not the length that was believed, but two answers in a row say so against the one before.
    Overruled(usize),
    /// Not the length that is known.
    Changed(usize),
}

impl Lengths {
    /// Notes an answer's length.
    pub fn heard(&mut self, length: usize) -> Heard {
        let Some(known) = self.known else {
            self.known = Some(length);
            return Heard::Same;
        };
        if known == length {
            (self.confirmed, self.other) = (true, None);
            return Heard::Same;
        }
        if !self.confirmed && self.other == Some(length) {
            *self = Self { known: Some(length), confirmed: true, other: None };
            return Heard::Overruled(known);
        }
        self.other = Some(length);
        Heard::Changed(known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last(lengths: &[usize]) -> Heard {
        let mut known = Lengths::default();
        lengths.iter().map(|length| known.heard(*length)).last().unwrap()
    }

    #[test]
    fn one_bad_first_answer_is_overruled_by_two_that_agree() {
        assert_eq!(last(&[16]), Heard::Same);
        assert_eq!(last(&[4096, 16]), Heard::Changed(4096));
        assert_eq!(last(&[4096, 16, 16]), Heard::Overruled(4096));
        assert_eq!(last(&[4096, 16, 16, 16]), Heard::Same);
        assert_eq!(last(&[4096, 16, 16, 4096]), Heard::Changed(16));
    }

    #[test]
    fn what_two_answers_said_stands_for_the_run() {
        assert_eq!(last(&[16, 16, 32, 32, 32]), Heard::Changed(16));
        assert_eq!(last(&[16, 32, 16, 32, 32]), Heard::Changed(16));
        assert_eq!(last(&[16, 32, 64, 32]), Heard::Changed(16), "those two do not agree");
    }
}
