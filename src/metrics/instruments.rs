//! The macro that writes an instrument down once: name, kind, labels, buckets, and one text for reader and scraper.

/// One instrument as it is written down: for tests of the names, the dashboard and the alerts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instrument {
    /// The full name.
    pub name: &'static str,
    /// The type of its field, such as `IntCounterVec`.
    pub kind: &'static str,
    /// The labels, in the order of `with_label_values`.
    pub labels: &'static [&'static str],
    /// The help text.
    pub help: &'static str,
}

/// Declares `Metrics`: each line becomes a public field whose doc comment is the help text, an entry of `INSTRUMENTS` and a
/// registration. So the three cannot drift apart.
macro_rules! instruments {
    ($(
        $(#[doc = $help:literal])+
        $name:ident: $kind:ident $(by [$($label:literal),+])? $(in $buckets:expr)?;
    )+) => {
        /// Every figure the worker shows, in a registry of its own.
        ///
        /// A field is named as its metric without the prefix `embedstream_`; its comment is the metric's help text. Instruments
        /// without labels and those whose labels are closed sets exist from the start, with 0: an alert on an increase
        /// sees the first one too.
        #[derive(Debug)]
        pub struct Metrics {
            registry: Registry,
            group: String,
            model: String,
            $( $(#[doc = $help])+ pub $name: $kind, )+
        }

        /// Every instrument, as it is written down.
        pub const INSTRUMENTS: &[Instrument] = &[
            $( Instrument {
                name: concat!("embedstream_", stringify!($name)),
                kind: stringify!($kind),
                labels: &[$($($label),+)?],
                help: concat!($($help),+).trim_ascii(),
            }, )+
        ];

        impl Metrics {
            /// Makes every instrument and registers it. Fails only on two of one name or a name that is not one.
            fn registered(registry: Registry, group: &str, model: &str) -> prometheus::Result<Self> {
                $(
                    let $name = instruments!(@make $kind,
                        concat!("embedstream_", stringify!($name)), concat!($($help),+).trim_ascii();
                        $($($label),+)?; $($buckets)?);
                    registry.register(Box::new($name.clone()))?;
                )+
                Ok(Self { registry, group: group.to_owned(), model: model.to_owned(), $($name,)+ })
            }
        }
    };
    (@make $kind:ident, $name:expr, $help:expr; ; ) => { $kind::with_opts(Opts::new($name, $help))? };
    (@make $kind:ident, $name:expr, $help:expr; $($label:literal),+; ) => {
        $kind::new(Opts::new($name, $help), &[$($label),+])?
    };
    (@make $kind:ident, $name:expr, $help:expr; ; $buckets:expr) => {
        $kind::with_opts(HistogramOpts::new($name, $help).buckets($buckets))?
    };
    (@make $kind:ident, $name:expr, $help:expr; $($label:literal),+; $buckets:expr) => {
        $kind::new(HistogramOpts::new($name, $help).buckets($buckets), &[$($label),+])?
    };
}

pub(super) use instruments;
