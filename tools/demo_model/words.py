"""Word lists from which the corpus is composed. Data only."""

from __future__ import annotations


def _listed(lines: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(lines.split()))


NOUNS: tuple[str, ...] = _listed("""
    apple bridge castle desk engine forest garden hammer island jacket kettle ladder mirror needle ocean
    pencil queen river stone table umbrella valley window yard anchor basket candle door eagle feather
    glass hill ice jar key lamp moon nest orange paper rabbit ship tower van wheel bear cloud drum egg
    fox goat hat ink jewel king leaf map nut owl pear ring star tree vase wolf bell cat dog fish horse
    lion mouse pig rose sun tiger bread milk salt sugar coffee tea train plane boat road city house room
    wall floor roof book page word letter number clock watch chair bottle cup plate spoon fork knife box
    bag shoe coat rain snow wind fire water sand rock field farm barn cow sheep hen duck bee ant flower
    grass seed root branch silver gold copper iron steel brick cable wire server worker queue token block
    cache model prompt request answer message engineer doctor teacher driver baker pilot sailor farmer
    painter singer writer child friend guest neighbor arm ball bath beach belt bench bike bird blanket bowl
    brush bus button cabin cake camel camera camp card carpet carrot cave chain cheese cherry church circle
    coast coin corn corner cotton couch crown curtain dance deer diamond dinner dish dock dragon dream dress
    drill eye fan fence finger flag flame flour flute fog foot frame frog fruit gate ghost gift giraffe
    glove goose grape guitar hall hand harbor heart helmet holiday honey hook hotel jungle kitchen kite lake
    lemon lesson library lid light lime line lock log lunch magnet mail mask meadow meal melon metal mill
    mountain mud museum music nail neck net night nose oak oil onion oven owner paint palace palm pan park
    path peach pepper piano picture pillow pipe plum pocket pond pool pot potato prince pump puzzle rail
    razor ribbon rice roller rope rug saddle sail salad school screw sea shelf shell shirt shop sink skirt
    sky slope smoke snail soap sock song soup spider sponge spring square stairs stamp station stick storm
    story stove straw street suit summer swan sword tail tent thread thumb ticket tie tooth towel toy tray
    truck tube tunnel turtle village violin voice wagon wallet water weather whale wing winter wood wool
    yarn zebra
""")

ADJECTIVES: tuple[str, ...] = _listed("""
    red green blue yellow white black brown purple old new big small tall short long warm cold quiet loud
    happy sad fast slow bright dark heavy light round flat soft hard clean empty full open closed early
    late deep young brave kind wild calm sweet bitter dry wet strange simple golden gray pink wide narrow
    thick thin smooth rough sharp blunt fresh plain proud shy lazy busy gentle clever rich poor safe great
    tiny huge
""")

VERBS: tuple[str, ...] = _listed("""
    carries finds sees paints breaks builds opens closes follows holds keeps leaves likes loses makes
    meets moves needs passes pulls pushes reads sells sends shows takes throws wants washes watches
    writes brings buys cleans counts draws drops hides hears lifts
""")

PLACES: tuple[str, ...] = _listed("""
    Paris London Berlin Madrid Rome Vienna Oslo Dublin Athens Prague Lisbon Warsaw Tokyo Seoul Cairo Lima
    Delhi Boston Chicago Denver Toronto Sydney Nairobi Zurich Geneva Munich Hamburg Milan Porto Lyon
""")

NAMES: tuple[str, ...] = _listed("""
    Anna Ben Clara David Emma Frank Grace Henry Ivy Jack Kate Leo Maria Nina Oscar Paul Rosa Sam Tom Uma
    Victor Wendy Alice Bob Carol Dan Eve Felix George Hannah Ian Julia Karl Laura Max Noah Olga Peter
    Ruth Simon Tina
""")

LINKS: tuple[str, ...] = (
    "near",
    "behind",
    "under",
    "with",
    "without",
    "before",
    "after",
    "above",
    "beside",
    "for",
)

OPENINGS: tuple[str, ...] = ("The", "A", "One", "My", "Our", "His", "Her", "Some")

ALL: tuple[str, ...] = tuple(dict.fromkeys(NOUNS + ADJECTIVES + VERBS + PLACES + NAMES))

KEYS: tuple[str, ...] = tuple(dict.fromkeys(NOUNS + ADJECTIVES))
