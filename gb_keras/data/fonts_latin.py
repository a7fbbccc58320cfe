"""The fonts of the data set `glyphs`: which files of which Debian packages, and for what.

Text, display, typewriter, pixel and legible handwritten fonts that draw all 62 letters and digits.
Left out, as docs/data.md tells, are fonts with symbols in the place of letters, without lower case
or with small capitals instead of it, too thin to be seen at 28 pixels, and those whose flourishes
leave no room for the letters.

A package is in one split, with every weight, width and slant of its designs, and packages that
draw the same design (Lato and Carlito; DejaVu, Hack and Verana; the metric copies of Times and
Helvetica) are in the same. `fonts-aenigma` alone, a collection of hundreds of designs, is in both,
with one file of each design.
"""

# By package, patterns as `find_fonts` takes them.
TRAIN = {
    "fonts-3270": "truetype/3270/*.ttf",
    "fonts-adf-accanthis": "truetype/adf/AccanthisADFStd*.otf",
    "fonts-adf-baskervald": "truetype/adf/BaskervaldADFStd*.otf",
    "fonts-adf-berenis": "truetype/adf/BerenisADFPro*.otf",
    "fonts-adf-gillius": "truetype/adf/GilliusADF*.otf",
    "fonts-adf-ikarius": "truetype/adf/IkariusADF*.otf",
    "fonts-adf-libris": "truetype/adf/LibrisADFStd-*.otf",
    "fonts-adf-romande": (
        "truetype/adf/ RomandeADFNo2Std-DemiBold.otf RomandeADFNo2Std-DemiBoldItalic.otf "
        "RomandeADFNo2Std-Italic.otf RomandeADFNo2Std-Regular.otf "
        "RomandeADFScriptStd-Italic.otf RomandeADFStd-DemiBold.otf "
        "RomandeADFStd-DemiBoldItalic.otf RomandeADFStd-Italic.otf RomandeADFStd-Regular.otf"
    ),
    "fonts-adf-switzera": "truetype/adf/SwitzeraADF-*.otf",
    "fonts-adf-tribun": "truetype/adf/TribunADFStd-*.otf",
    "fonts-adf-universalis": "truetype/adf/UniversalisADFStd-*.otf",
    "fonts-adf-verana": "truetype/adf/Verana*.otf",
    "fonts-aenigma": (
        "truetype/aenigma/ 36daythk.ttf 8bitlimr.ttf Strande2.ttf Tragic2.ttf Unxgala.ttf "
        "aesymatt.ttf aftermat.ttf alphbeta.ttf amalgama.ttf amplitud.ttf aspartam.ttf "
        "ataxia.ttf bandless.ttf bendable.ttf binchrt.ttf bknuckss.ttf candystr.ttf "
        "chumbly.ttf cleavttr.ttf compc2s.ttf conduit.ttf decrepit.ttf dephun2.ttf "
        "discorda.ttf dynamic.ttf dyphusio.ttf elsewhe2.ttf encappln.ttf entlayra.ttf "
        "euphoric.ttf extracti.ttf fasciism.ttf frizzed.ttf fullcomp.ttf galapogo.ttf "
        "gasping.ttf gather.ttf genotyrs.ttf gr8higts.ttf granular.ttf grotesq.ttf "
        "gyneric.ttf hillock.ttf homespun.ttf hyde.ttf hyperion.ttf imposs.ttf inertia.ttf "
        "inevitab.ttf inkswipe.ttf intersec.ttf irritate.ttf jagged.ttf janken.ttf jargon.ttf "
        "jekyll.ttf jupiterc.ttf kaliberr.ttf katainac.ttf keyridge.ttf kinkaid.ttf "
        "kurvatur.ttf lakeshor.ttf lamebrai.ttf lethargi.ttf lightout.ttf mincer.ttf "
        "minikstt.ttf moronmis.ttf mysteron.ttf naughts.ttf neural.ttf nominal.ttf "
        "nostalgi.ttf nymonak.ttf obloquys.ttf pindwnxp.ttf pneutall.ttf qlumpy.ttf "
        "quacksal.ttf quadrcal.ttf quaranti.ttf quarthck.ttf rambling.ttf redundan.ttf "
        "regenera.ttf rehearsc.ttf relapse.ttf roughday.ttf ryuker.ttf setbackt.ttf "
        "simplto2.ttf slenstub.ttf spastic2.ttf sqroute.ttf stagnati.ttf syntheti.ttf "
        "syracuse.ttf techover.ttf tonik.ttf vigilanc.ttf volatil1.ttf weathers.ttf "
        "weaver.ttf wobbly.ttf xipital.ttf yesterda.ttf yonder.ttf yoshisst.ttf yourcomp.ttf "
        "zenith.ttf zephyreg.ttf zirconia.ttf zoetrope.ttf"
    ),
    "fonts-agave": "truetype/agave/*.ttf",
    "fonts-allerta": "opentype/allerta/*.otf",
    "fonts-anonymous-pro": "truetype/anonymous-pro/*.ttf",
    "fonts-averia-sans-gwf": "truetype/averia-gwf/AveriaSansGWF-*.ttf",
    "fonts-averia-serif-gwf": "truetype/averia-gwf/AveriaSerifGWF-*.ttf",
    "fonts-b612": "opentype/b612/*.otf",
    "fonts-babelstone-modern": "truetype/babelstone/BabelStoneModern*.ttf",
    "fonts-cabin": "opentype/cabin/*.otf",
    "fonts-cantarell": "opentype/cantarell/*.otf !*Thin*",
    "fonts-cardo": "truetype/cardo/*.ttf",
    "fonts-century-catalogue": "truetype/fonts-century-catalogue/*.ttf",
    "fonts-cherrybomb": "opentype/cherrybomb/*.otf",
    "fonts-clear-sans": "truetype/clear-sans/*.ttf !*Thin*",
    "fonts-cmu": "truetype/cmu/*.ttf",
    "fonts-comfortaa": "truetype/comfortaa/*.ttf",
    "fonts-courier-prime": "opentype/courier-prime/*.otf",
    "fonts-crosextra-carlito": "truetype/crosextra/Carlito-*.ttf",
    "fonts-dancingscript": "opentype/dancingscript/*.otf",
    "fonts-dejavu-core": (
        "truetype/dejavu/ DejaVuSans-Bold.ttf DejaVuSans.ttf DejaVuSansMono-Bold.ttf "
        "DejaVuSansMono.ttf DejaVuSerif-Bold.ttf DejaVuSerif.ttf"
    ),
    "fonts-ebgaramond": "opentype/ebgaramond/ EBGaramond08-*.otf EBGaramond12-[BIR]*.otf",
    "fonts-essays1743": "truetype/essays1743/*.ttf",
    "fonts-eurofurence": "truetype/eurofurence/eurof*.ttf",
    "fonts-fantasma": "opentype/fantasma/*.otf",
    "fonts-fanwood": "truetype/fanwood/*.otf",
    "fonts-firacode": "truetype/firacode/*.ttf",
    "fonts-gamaliel": "truetype/gamaliel/*.ttf",
    "fonts-gemunu-libre": "opentype/gemunu-libre/*.otf !*ExtraLight*",
    "fonts-georgewilliams": "truetype/fonts-georgewilliams/*.ttf",
    "fonts-gfs-didot": "opentype/didot/*.otf",
    "fonts-gfs-theokritos": "opentype/theokritos/*.otf",
    "fonts-gnutypewriter": "truetype/gnutypewriter/*.ttf",
    "fonts-go": "fonts-go/*.ttf !*Smallcaps*",
    "fonts-hack": "truetype/hack/*.ttf",
    "fonts-havana": "opentype/havana/*.otf",
    "fonts-hermit": "truetype/hermit/*.otf",
    "fonts-hosny-amiri": "opentype/fonts-hosny-amiri/Amiri-*.ttf",
    "fonts-inter": "opentype/inter/*.otf !*Thin* !*ExtraLight*",
    "fonts-isabella": "truetype/isabella/*.ttf",
    "fonts-junction": "opentype/junction/*.otf",
    "fonts-jura": "opentype/jura/*.otf",
    "fonts-karla": "truetype/karla/*.otf !*ExtraLight*",
    "fonts-klaudia-berenika": "truetype/klaudia-berenika/*.ttf",
    "fonts-lato": "truetype/lato/*.ttf !*Thin* !*Hairline*",
    "fonts-leckerli-one": "truetype/leckerli-one/*.ttf",
    "fonts-liberation": "truetype/liberation/*.ttf",
    "fonts-lindenhill": "truetype/lindenhill/*.otf",
    "fonts-linuxlibertine": (
        "opentype/linux-libertine/ *.otf !LinBiolinum_K.otf !LinLibertine_I.otf"
    ),
    "fonts-manrope": "truetype/manrope/*.ttf !*ExtraLight*",
    "fonts-monoid": "truetype/monoid/Monoid-*.ttf !*Loose* !*Tight* !*Half*",
    "fonts-national-park": "opentype/national-park/*.otf !*Thin*",
    "fonts-ocr-a": "truetype/ocr-a/*.ttf",
    "fonts-ocr-b": "opentype/ocr-b/*.otf",
    "fonts-okolaks": "truetype/okolaks/*.ttf",
    "fonts-oldstandard": "truetype/fonts-oldstandard/*.ttf",
    "fonts-opendin": "truetype/opendin/*.ttf",
    "fonts-opendyslexic": "opentype/opendyslexic/*.otf",
    "fonts-pc": (
        "pc/ Px_AmstradPC1512-2y.ttf Px_IBM_CGA-2y.ttf Px_IBM_CGA.ttf Px_IBM_EGA8.ttf "
        "Px_IBM_MDA.ttf Px_IBM_VGA8.ttf Px_IBM_VGA9.ttf Px_VGA_SquarePx.ttf"
    ),
    "fonts-play": "opentype/play/*.otf",
    "fonts-prociono": "opentype/fonts-prociono/*.otf",
    "fonts-roadgeek": "truetype/roadgeek/*.ttf",
    "fonts-roboto-slab": "opentype/roboto/slab/*.otf !*Thin*",
    "fonts-roboto-unhinted": (
        "truetype/roboto/unhinted/ *.ttf truetype/roboto/unhinted/RobotoTTF/ *.ttf !*Thin*"
    ),
    "fonts-routed-gothic": "truetype/routed-gothic/*.ttf",
    "fonts-sil-andika": "truetype/andika/*.ttf",
    "fonts-sil-doulos": "truetype/doulos/*.ttf",
    "fonts-sixtyfour": "truetype/sixtyfour/*.ttf",
    "fonts-smc-chilanka": "opentype/malayalam/Chilanka-Regular*.otf",
    "fonts-smc-gayathri": "opentype/malayalam/ Gayathri-Bold.otf Gayathri-Regular.otf",
    "fonts-smc-manjari": "opentype/malayalam/ Manjari-Bold.otf Manjari-Regular.otf",
    "fonts-sora": "opentype/sora/*.otf !*Thin* !*ExtraLight*",
    "fonts-summersby": "truetype/summersby/*.ttf",
    "fonts-tiresias": "truetype/tiresias/*.ttf",
    "fonts-tlwg-purisa-ttf": "truetype/tlwg/Purisa*.ttf",
    "fonts-tuffy": "truetype/tuffy/*.ttf",
    "fonts-urw-base35": "opentype/urw-base35/*.otf !D050000L.otf !StandardSymbolsPS.otf",
    "fonts-vollkorn": "truetype/vollkorn/*.ttf",
    "fonts-yrsa-rasa": "truetype/fonts-yrsa-rasa/*.ttf",
}

# A fifth of the faces.
TEST = {
    "fonts-adf-irianis": "truetype/adf/IrianisADFStd-*.otf",
    "fonts-adf-mekanus": "truetype/adf/MekanusADFStd-*.otf",
    "fonts-adf-oldania": "truetype/adf/OldaniaADFStd-*.otf",
    "fonts-aenigma": (
        "truetype/aenigma/ Splatz2.ttf acidrefl.ttf automati.ttf backlash.ttf blonibld.ttf "
        "bobcaygr.ttf bocuma.ttf chemreb.ttf crkdownr.ttf dented.ttf enthuse.ttf galvaniz.ttf "
        "gravitat.ttf hairball.ttf handmeds.ttf jeopardt.ttf knot.ttf lucid2.ttf notqr.ttf "
        "nsecthck.ttf obstacle.ttf opiated.ttf quantflt.ttf ravaged2.ttf ravcater.ttf "
        "scalines.ttf telephas.ttf thwart.ttf tsextols.ttf ubiquity.ttf vantage.ttf "
        "variance.ttf vindicti.ttf wagerwon.ttf waver.ttf whipsnap.ttf wigsquig.ttf "
        "withstan.ttf xhume.ttf yielding.ttf"
    ),
    "fonts-arapey": "opentype/arapey/*.otf !*Thin*",
    "fonts-beteckna": "truetype/beteckna/BetecknaGS*.ttf",
    "fonts-blankenburg": "truetype/blankenburg/*.ttf",
    "fonts-comic-neue": "opentype/comic-neue/*.otf",
    "fonts-crosextra-caladea": "truetype/crosextra/Caladea-*.ttf",
    "fonts-dosis": "opentype/dosis/*.otf !*ExtraLight*",
    "fonts-dustin": (
        "truetype/dustin/ *.ttf !Balker.ttf !Domestic_Manners.ttf !El_Abogado_Loco.ttf "
        "!MarkedFool.ttf !Swift.ttf !Wargames.ttf !Winks.ttf !flatline.ttf !progenisis.ttf"
    ),
    "fonts-engadget": "truetype/engadget/*.ttf",
    "fonts-fantasque-sans": "truetype/fantasque-sans/Normal/TTF/*.ttf",
    "fonts-gfs-artemisia": "opentype/artemisia/*.otf",
    "fonts-gfs-neohellenic": "opentype/neohellenic/*.otf",
    "fonts-gotico-antiqua": (
        "opentype/gotico-antiqua/ Hamlet-Tertia18.otf Jessen-Cicero12.otf Jessen-Mittel14.otf "
        "Ptolemy-GreatPrimer18.otf Zainer-GoticoAntiqua96G.otf"
    ),
    "fonts-goudybookletter": "opentype/sortsmill/*.otf",
    "fonts-inconsolata": "truetype/inconsolata/*.otf",
    "fonts-jetbrains-mono": "truetype/jetbrains-mono/*.ttf !*Thin* !*ExtraLight*",
    "fonts-kaushanscript": "opentype/kaushanscript/*.otf",
    "fonts-league-mono": (
        "opentype/league-mono/ LeagueMono-Bold.otf LeagueMono-ExtraBold.otf "
        "LeagueMono-Light.otf LeagueMono-Medium.otf LeagueMono-Regular.otf "
        "LeagueMono-SemiBold.otf LeagueMono-UltraLight.otf"
    ),
    "fonts-league-spartan": "opentype/league-spartan/*.otf !*ExtraLight*",
    "fonts-lemonada": "opentype/lemonada/*.otf",
    "fonts-lobstertwo": "opentype/lobstertwo/*.otf !LobsterTwo-BoldItalic.otf",
    "fonts-monofur": "truetype/monofur/*.ttf",
    "fonts-mononoki": "truetype/mononoki/*.ttf",
    "fonts-open-sans": "truetype/open-sans/*.ttf",
    "fonts-osifont": "truetype/osifont/*.ttf",
    "fonts-oxygen": "truetype/oxygen/*.ttf",
    "fonts-paratype": "truetype/paratype/*.ttf",
    "fonts-quattrocento": "opentype/quattrocento/*.otf",
    "fonts-quicksand": "truetype/quicksand/*.ttf",
    "fonts-radisnoir": "opentype/radisnoir/*.otf",
    "fonts-rufscript": "truetype/rufscript/*.ttf",
    "fonts-sil-gentium": "truetype/gentium/*.ttf",
    "fonts-staypuft": "truetype/staypuft/*.ttf",
    "fonts-yanone-kaffeesatz": "opentype/yanone-kaffeesatz/*.otf !*ExtraLight*",
}

SPLITS = {"train": TRAIN, "test": TEST}
