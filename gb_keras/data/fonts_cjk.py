"""The fonts of the data set `glyphs-cjk`: which files of which Debian packages, and for what.

Chosen by eye: Song (Mincho), Hei (Gothic), Kai, Fangsong, rounded, pixel, brush and handwritten
fonts. Left out are cursive brush writing, outlines in place of strokes, and what copies a font
that is here already. Where the widths of a design differ in its Latin letters alone, one is taken.

Packages that draw the same design, or parts of it, are in the same split.
"""

# By package, patterns as `find_fonts` takes them.
TRAIN = {
    "fonts-aoyagi-kouzan-t": "truetype/aoyagi-kouzan-t/AoyagiKouzanT.ttf",
    "fonts-aoyagi-soseki": "truetype/aoyagi-soseki/aoyagi-soseki.ttf",
    "fonts-arphic-gbsn00lp": "truetype/arphic-gbsn00lp/gbsn00lp.ttf",
    "fonts-arphic-uming": "truetype/arphic/uming.ttc",
    "fonts-baekmuk": "truetype/baekmuk/ batang.ttf dotum.ttf gulim.ttf",
    "fonts-cwtex-kai": "truetype/cwtex/cwkai.ttf",
    "fonts-cwtex-ming": "truetype/cwtex/cwming.ttf",
    "fonts-dejima-mincho": "truetype/dejima-mincho/*.ttf",
    "fonts-dotgothic16": "truetype/dotgothic16/DotGothic16-Regular.ttf",
    "fonts-horai-umefont": "truetype/horai-umefont/ ume-tgo4.ttf ume-tgo5.ttf ume-tmo3.ttf",
    "fonts-ipaexfont-mincho": "opentype/ipaexfont-mincho/ipaexm.ttf",
    "fonts-kiloji": "truetype/kiloji/ kiloji.ttf kiloji_b.ttf",
    "fonts-konatu": "truetype/konatu/Konatu.ttf",
    "fonts-kouzan-mouhitsu": "truetype/kouzan-mouhitsu/kouzan-mouhitsu*.ttf",
    "fonts-migmix": "truetype/migmix/ migmix-1p-*.ttf migmix-2p-*.ttf",
    "fonts-mona": "truetype/mona/mona.ttf",
    "fonts-morisawa-bizud-gothic": "truetype/bizud-gothic/BIZUDGothic-*.ttf",
    "fonts-morisawa-bizud-mincho": "truetype/bizud-mincho/BIZUDMincho-Regular.ttf",
    "fonts-naver-d2coding": "truetype/naver-d2coding/*-all.ttc",
    "fonts-noto-cjk": (
        "opentype/noto/ NotoSansCJK-Bold.ttc NotoSansCJK-Regular.ttc NotoSerifCJK-Bold.ttc "
        "NotoSerifCJK-Regular.ttc"
    ),
    "fonts-rocknroll": "truetype/rocknroll/RocknRollOne-Regular.ttf",
    "fonts-sawarabi-gothic": "truetype/sawarabi-gothic/sawarabi-gothic-medium.ttf",
    "fonts-stick": "truetype/stick/Stick-Regular.ttf",
    "fonts-takao-gothic": "truetype/takao-gothic/TakaoGothic.ttf",
    "fonts-vlgothic": "truetype/vlgothic/VL-Gothic-Regular.ttf",
    "fonts-wqy-microhei": "truetype/wqy/wqy-microhei.ttc",
    "fonts-yusei-magic": "truetype/yusei-magic/YuseiMagic-Regular.ttf",
}

# A quarter of the faces, each kind of design among them.
TEST = {
    "fonts-arphic-gkai00mp": "truetype/arphic-gkai00mp/gkai00mp.ttf",
    "fonts-arphic-ukai": "truetype/arphic/ukai.ttc",
    "fonts-cwtex-fs": "truetype/cwtex/cwfs.ttf",
    "fonts-cwtex-heib": "truetype/cwtex/cwheib.ttf",
    "fonts-cwtex-yen": "truetype/cwtex/cwyen.ttf",
    "fonts-hanazono": "truetype/hanazono/HanaMinA.ttf",
    "fonts-motoya-l-cedar": "truetype/motoya-l-cedar/MTLc3m.ttf",
    "fonts-motoya-l-maruberi": "truetype/motoya-l-maruberi/MTLmr3m.ttf",
    "fonts-oradano-mincho-gsrr": "truetype/oradano-mincho/OradanoGSRR.ttf",
    "fonts-reggae": "truetype/reggae/ReggaeOne-Regular.ttf",
    "fonts-sawarabi-mincho": "truetype/sawarabi-mincho/sawarabi-mincho-medium.ttf",
    "fonts-seto": "truetype/seto/setofont.ttf",
    "fonts-smiley-sans": "truetype/smiley-sans/SmileySans-Oblique.ttf",
    "fonts-unfonts-core": (
        "truetype/unfonts-core/ UnBatang.ttf UnBatangBold.ttf UnDotum.ttf UnDotumBold.ttf "
        "UnGungseo.ttf"
    ),
    "fonts-wqy-zenhei": "truetype/wqy/wqy-zenhei.ttc",
}

SPLITS = {"train": TRAIN, "test": TEST}
