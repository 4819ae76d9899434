//! The instruction table of [`beside`](super::beside): each instruction with its flags and its odd forms.

use dock_tests::Room;

/// A Dockerfile of the table.
pub struct Case {
    pub name: &'static str,
    pub options: &'static str,
    pub dockerfile: &'static str,
    /// What the classic builder has otherwise, and why: a member of the configuration, a path and what is below it, or
    /// `all` where it cannot build it.
    pub classic: &'static [(&'static str, &'static str)],
}

impl Case {
    const fn classic(self, classic: &'static [(&'static str, &'static str)]) -> Self {
        Self { classic, ..self }
    }

    pub fn is_for(&self, owner: &str) -> bool {
        owner != CLASSIC || !self.classic.iter().any(|(what, _)| *what == "all")
    }
}

const fn case(name: &'static str, dockerfile: &'static str) -> Case {
    with(name, "", dockerfile)
}

const fn with(name: &'static str, options: &'static str, dockerfile: &'static str) -> Case {
    Case { name, options, dockerfile, classic: &[] }
}

const SETUID: &str = "a change of owner takes the setuid bit";

pub const OURS: &str = "ours";

pub const BUILDKIT: &str = "buildkit";

pub const CLASSIC: &str = "classic";

pub const CASES: &[Case] = &[
    case("empty", "FROM localhost/base\n"),
    case(
        "env",
        "FROM localhost/base\nENV A=1 B=\"x y\" C=a\\ b D='q \"r\"' E=\"q 'r'\" F= G=\"\"\nENV H one  two   three\nENV I \"quoted\" J\nENV K=$A$B L=\"$A\" M='$A' N=\\$A O=\"\\$A\" P=a$ Q=${A}x R=$Ax S=\"a\\\\b\" T=a\\\\b\nENV A=2 U=$A\nENV V=$A \\\n  W=w\nENV X=\"multi \\\n  line\"\nENV Y=a=b=c Z==\nENV lower=1 Under_2=2\n",
    ),
    case(
        "env-forms",
        "FROM localhost/base\nENV a=1 e=\nENV A=${a:-d} B=${n:-d} C=${e:-d} D=${a:+s} E=${n:+s} F=${e:+s} G=${n:-${a}} H=${n:-\"x y\"} J=${n:-$a$a} K=${n:-} L=${a:+${a}b}\n",
    ),
    case(
        "env-odd",
        "from localhost/base\nenv a=N\nENV $a=1 x$a=2\nENV 1a=x a.b=c a-b=d\nENV I=${n:-'$a'}\nENV\ta=1\tb=2\nENV\tc\td e\neNv C $a\nLabel u=2\nENV PATH=/x:$PATH\nENV PATH /y:${PATH}\nENV h=häß j=\"日本 語\"\nLABEL ü=ö\nENV a  b c=d \"e\" \\f\nENV x $a\nENV y   trailing  \nENV z 'single q'\n",
    ),
    case(
        "label",
        "FROM localhost/base\nLABEL a=1 \"b c\"=\"d e\" 'f g'='h i' j=k\\ l m=\nLABEL n=\"o\\\"p\" q='r\"s' t=\"u \\\n v\"\nLABEL w x y\nENV e=E\nLABEL $e=$e x=${e}y z='$e'\nLABEL a=2\nLABEL multi.dots-and_more/x=1\n",
    ),
    case(
        "arg",
        "FROM localhost/base\nARG Z=1 Y X=3\nRUN echo x$TARGETARCH$Z$Y$X >/0\nARG A=1\nARG B\nARG C=$A\nENV D=$A E=$B F=$C\nENV A=env\nENV G=$A\nARG I=\"x y\" J='z'\nRUN echo $A $B $C \"$I\" $J >/out\n",
    ),
    case(
        "arg-after-env",
        "FROM localhost/base\nENV A=env\nARG A=arg\nARG B=$A\nENV C=$A D=$B\nRUN echo $A $B >/out\nENV A=again\nENV E=$A\n",
    ).classic(&[("Config.Env", "an ARG does not cover an ENV"), ("out", "the same, in RUN")]),
    with(
        "arg-given",
        "--build-arg A=g --build-arg B= --build-arg C=c",
        "ARG G=glob\nFROM localhost/base\nARG A=1\nARG B=b\nARG C\nARG G\nENV D=$A E=x$B F=$C H=$G\nRUN echo $A-$B-$C-$G >/out\n",
    ),
    with(
        "arg-from",
        "--build-arg T=latest",
        "ARG N=base\nARG T=none\nARG X=localhost/$N\nFROM $X:$T AS one\nRUN echo ${N}-$T >/out\nFROM ${X}:${T:-x}\nARG N\nARG T=mine\nENV n=$N t=$T\nCOPY --from=one /out /out1\n",
    ),
    with(
        "arg-stages",
        "--build-arg V=5",
        "FROM localhost/base AS a\nARG V=1\nENV v=$V\nFROM a AS b\nENV w=$V\nRUN echo $V >/b\nFROM localhost/base\nENV x=$V\nCOPY --from=b /b /b\n",
    ).classic(&[("b", "a stage does not know the ARGs of the one that it is from")]),
    with(
        "arg-proxy",
        "--build-arg HTTP_PROXY=http://p:1 --build-arg no_proxy=x",
        "FROM localhost/base\nRUN echo $HTTP_PROXY $no_proxy >/out\nENV a=$HTTP_PROXY\nARG HTTP_PROXY\nRUN echo $HTTP_PROXY >/out2\nENV b=$HTTP_PROXY\n",
    ).classic(&[("Config.Env", "a proxy is an argument that needs no ARG")]),
    case(
        "arg-platform",
        "FROM --platform=$BUILDPLATFORM localhost/base\nARG TARGETPLATFORM\nARG TARGETOS\nARG TARGETARCH\nARG TARGETVARIANT\nARG BUILDPLATFORM\nARG BUILDOS BUILDARCH\nENV a=$TARGETPLATFORM b=$TARGETOS c=$TARGETARCH d=x$TARGETVARIANT e=$BUILDPLATFORM f=$BUILDOS g=$BUILDARCH\nRUN echo $TARGETPLATFORM $BUILDARCH >/out\n",
    ).classic(&[("all", "arguments of platforms are BuildKit's")]),
    case(
        "workdir",
        "FROM localhost/base\nWORKDIR /a\nWORKDIR b/\nWORKDIR ./c/../d\nRUN pwd >/pwd\nENV W=/x/y\nWORKDIR $W/z\nWORKDIR \"/q r\"\nWORKDIR /e/\nWORKDIR ../../f\nCOPY x1.txt .\n",
    ),
    case("workdir-scratch", "FROM scratch\nWORKDIR w\nWORKDIR /\n"),
    case(
        "workdir-link",
        "FROM localhost/base\nRUN ln -s /tgt /lnk && mkdir /tgt && ln -s /gone /dang\nWORKDIR /lnk/sub\nRUN pwd >/out\nWORKDIR /dang/sub\nWORKDIR /a b\nWORKDIR /bin\nWORKDIR /\n",
    ),
    case(
        "workdir-user",
        "FROM localhost/base\nUSER app\nWORKDIR /home/app/x\nRUN echo $(id -u) $(id -g) >/tmp/out\nCOPY x1.txt .\n",
    ).classic(&[("home", "what WORKDIR makes is root's")]),
    case(
        "user",
        "FROM localhost/base\nUSER app\nRUN echo $(id -u) $(id -g) >/tmp/1\nUSER 1000\nRUN echo $(id -u) $(id -g) >/tmp/2\nUSER app:www\nRUN echo $(id -u) $(id -g) >/tmp/3\nUSER 7:8\nRUN echo $(id -u) $(id -g) >/tmp/4\nUSER root:app\nRUN echo $(id -u) $(id -g) >/tmp/5\nENV u=app\nUSER $u\nUSER ${u}:${u}\n",
    ),
    case("user-digits", "FROM localhost/base\nUSER 1002\nRUN echo $(id -u) $(id -g) >/tmp/1\n"),
    case(
        "user-home",
        "FROM localhost/base\nUSER app\nRUN echo $HOME >/tmp/1\nENV HOME=/x\nRUN echo $HOME >/tmp/2\nUSER root\nRUN echo $HOME >/tmp/3\n",
    ),
    case(
        "volume",
        "FROM localhost/base\nRUN mkdir /v && echo 1 >/v/a\nVOLUME /v /w\nCOPY x1.txt /v/\nRUN echo 2 >/v/b\nVOLUME [\"/j s\", \"/k\"]\nENV p=/p\nVOLUME $p ${p}q\nVOLUME rel\n",
    ).classic(&[("v/b", "what RUN writes into a volume is lost"), ("w", "RUN makes the places of volumes")]),
    case("volume-slash", "FROM localhost/base\nVOLUME /a/ /a/../b\n"),
    case(
        "expose",
        "FROM localhost/base\nEXPOSE 80\nEXPOSE 53/udp 53/tcp\nEXPOSE 7000-7003/sctp\nENV p=99\nEXPOSE $p ${p}9/udp\nEXPOSE 1/UDP\nEXPOSE 8080:85\nEXPOSE 127.0.0.1:8081:81/udp\nEXPOSE 0\nEXPOSE $none\n",
    ),
    case(
        "stopsignal",
        "FROM localhost/base\nSTOPSIGNAL SIGUSR1\nENV s=9\nSTOPSIGNAL $s\nSTOPSIGNAL usr1\nSTOPSIGNAL SIGRTMIN+3\nSTOPSIGNAL RTMAX-14\n",
    ),
    case("shell", "FROM localhost/base\nSHELL [\"/bin/sh\", \"-ec\"]\nRUN echo a >/a\nCMD x y\nENTRYPOINT z\n"),
    case(
        "cmd",
        "FROM localhost/base\nCMD echo \"a b\" $X\nENV X=1\nCMD []\nCMD ['a', 'b']\nCMD a\nCMD [\"a\", \"b c\", \"$X\", \"q\\\"r\", \"é\", \"<&>\"]\n",
    ),
    case("entrypoint-resets", "FROM localhost/base\nENTRYPOINT [\"e\"]\n"),
    case("entrypoint-keeps", "FROM localhost/base\nCMD [\"c\"]\nENTRYPOINT [\"e\", \"f\"]\n"),
    case("entrypoint-then-cmd", "FROM localhost/base\nENTRYPOINT e f\nCMD g h\n"),
    case("entrypoint-stage", "FROM localhost/base AS a\nCMD [\"c\"]\nFROM a\nENTRYPOINT [\"e\"]\n"),
    case(
        "healthcheck",
        "FROM localhost/base\nHEALTHCHECK --interval=1m30s --timeout=1.5s --start-period=100ms --retries=4 CMD curl -f http://x || exit 1\n",
    ),
    case(
        "healthcheck-none",
        "FROM localhost/base\nHEALTHCHECK CMD x\nHEALTHCHECK CMD [\"a\", \"b c\"]\nHEALTHCHECK --interval=1h cmd x  y\nHEALTHCHECK NONE\n",
    ).classic(&[("Config.Healthcheck", "NONE keeps the times of the one before")]),
    case(
        "onbuild",
        "FROM localhost/base AS p\nONBUILD RUN echo 1 >/1\nONBUILD COPY x1.txt /\nONBUILD ENV a=b\nONBUILD CMD [\"x\"]\nFROM p\nRUN echo $a >/2\n",
    ),
    case(
        "onbuild-chain",
        "FROM localhost/base AS p\nONBUILD ARG V=7\nONBUILD RUN echo $V >/v\nFROM p AS q\nONBUILD WORKDIR /q\nFROM q\n",
    ),
    case("maintainer-var", "FROM localhost/base\nENV a=1\nMAINTAINER  A. $a  <a@b.c>\n"),
    case(
        "run-forms",
        "FROM localhost/base\nRUN echo shell $0 >/1\nRUN [\"/bin/sh\", \"-c\", \"echo exec $HOME >/2\"]\nRUN echo a \\\n  # no comment\n  && echo b >/3\nRUN [ -f /1 ] && echo t >/4\nRUN   echo   spaces    >/5\nRUN echo 'a  b' \\\n\n >/6\nRUN true\nRUN echo \"a\\\"b\" '$x' \\$y \\\\z >/7\n",
    ),
    case(
        "run-mounts",
        "FROM localhost/base\nRUN mkdir -p /ctx /t /c/c /in/side /e\nRUN --mount=type=bind,target=/ctx cat /ctx/x1.txt >/1; ls /ctx >/2\nRUN --mount=type=tmpfs,target=/t touch /t/x && ls /t >/3\nRUN --mount=type=cache,target=/c/c touch /c/c/x\nRUN --mount=type=bind,source=d,target=/in/side,rw touch /in/side/n && ls /in/side >/4\nRUN --mount=from=localhost/base,source=/etc,target=/e cat /e/passwd >/5\n",
    ).classic(&[("all", "--mount is BuildKit's")]),
    case(
        "run-rm",
        "FROM localhost/base\nRUN mkdir /a && echo 1 >/a/b && echo 2 >/c && ln -s c /l && mkdir -m 1777 /s && chown 5:6 /c\nRUN rm -r /a /l && chmod 600 /c && mkdir /a && touch /a/new\n",
    ),
    case(
        "run-env",
        "FROM localhost/base\nENV A=1 B=\"x y\"\nARG C=3\nRUN env | grep -v -e HOSTNAME -e SHLVL -e PWD | sort >/env; umask >/umask\n",
    ),
    case(
        "copy",
        "FROM scratch\nCOPY d /whole\nCOPY d x?.txt /many/\nCOPY dirlink /followed/\nCOPY filelink /fl\nCOPY filelink /dir/\nCOPY abslink /al\nCOPY d/link /deref\nCOPY [\"sp ace\", \"/json dir/\"]\nCOPY empty /empty/\nCOPY empty /new/deep/er\nCOPY d e /merged/\nCOPY d/a d/a /twice/\nCOPY *.txt /stars/\nCOPY d/* /dstar/\nCOPY . /all/\n",
    ).classic(&[("all/x2.txt", SETUID), ("many/x2.txt", SETUID), ("stars/x2.txt", SETUID)]),
    case(
        "copy-special",
        "FROM scratch\nCOPY br[[]1].txt /1/\nCOPY st\\*r /2/\nCOPY [\"br[[]1].txt\", \"/3/\"]\nCOPY .hid* /4/\nCOPY ü* /5/\nCOPY ./d/../x1.txt /6\nCOPY /x1.txt /7\nCOPY d/ /8\nCOPY d/. /9/\nCOPY d//a /10\nCOPY [xy]1.txt /11/\nCOPY hard1 hard2 /12/\nCOPY hards /13/\nCOPY dang /15/\n",
    ),
    case(
        "copy-modes",
        "FROM scratch\nCOPY x2.txt /suid\nCOPY sticky /sticky/\nCOPY setgid /setgid/\nCOPY owned /owned/\nCOPY noread /noread\nCOPY capable /cap\nCOPY attrs /attrs\nCOPY attrdir /attrdir/\n",
    ).classic(&[("suid", SETUID)]),
    case(
        "copy-chown",
        "FROM localhost/base\nCOPY --chown=app d /owned/\nCOPY --chown=app:www x1.txt /group\nCOPY --chown=:www x1.txt /onlygroup\nCOPY --chown=5:6 d/a /n\nCOPY --chown=9 d/a /n9\nCOPY --chown=1000 d/a /n1000\nCOPY --chown=7:app x1.txt /new/dir/x\nENV o=app\nCOPY --chown=$o:$o dirlink /v/\nUSER app\nCOPY x1.txt /still-root\n",
    ).classic(&[("all", "a group without a user is an error")]),
    case(
        "copy-chmod",
        "FROM scratch\nCOPY --chmod=0640 d/a /mode\nCOPY --chmod=755 d /dir/\nCOPY --chmod=711 x1.txt /new/x\n",
    ).classic(&[("all", "--chmod is BuildKit's")]),
    case(
        "copy-over",
        "FROM localhost/base\nRUN mkdir -m 700 /t && chown 3:4 /t && echo old >/t/a && ln -s /t /lt && ln -s t /rt\nCOPY d /t\nCOPY x1.txt /lt/\nCOPY d /rt/\nCOPY x1.txt /lt\nCOPY x1.txt /t/a\n",
    ),
    case(
        "copy-links-below",
        "FROM localhost/base\nRUN mkdir -p /run && ln -s /run /vr && ln -s nowhere /dang && ln -s /etc/passwd /fl\nCOPY x1.txt /vr/x\nCOPY x1.txt /dang\nCOPY x1.txt /fl\n",
    ),
    case("copy-none-star", "FROM localhost/base\nCOPY nope* /x/\n").classic(&[("all", "a pattern that nothing matches is an error")]),
    case("copy-star-dot", "FROM scratch\nWORKDIR /w\nCOPY x*.txt .\nCOPY x1.txt ./n\nCOPY x1.txt up/\nCOPY d ..\n").classic(&[("all", "several sources want a slash behind the dot")]),
    case(
        "copy-from",
        "FROM localhost/base AS one\nRUN mkdir -m 750 /o && echo 1 >/o/f && chown -R 7:8 /o && ln -s f /o/l && ln /o/f /o/h && ln -s o /ol\nFROM localhost/base\nFROM scratch\nCOPY --from=one /o /a/\nCOPY --from=0 o/f /b\nCOPY --from=localhost/base /etc/group /c\nCOPY --from=ONE --chown=5:6 /o /d/\nCOPY --from=one /ol/ /e/\nCOPY --from=one /ol /f/\nCOPY --from=one /o/l /g\nCOPY --from=one /o/* /h/\n",
    ),
    case(
        "copy-vars",
        "FROM scratch\nENV s=x1 d=/dst\nCOPY ${s}.txt $d/\nCOPY $s.txt ${d}2\nARG e=x2\nADD ${e:-x1}.txt $d/\n",
    ).classic(&[("dst/x2.txt", SETUID)]),
    case("copy-quotes", "FROM scratch\nCOPY \"x1.txt\" /q/\n"),
    case(
        "add",
        "FROM scratch\nADD t.tar /plain/\nADD t.tar.gz /gz\nADD t.tar.bz2 /bz/\nADD t.tar.xz /xz/\nADD note.gz /n/\nADD note.gz /n2\nADD x1.txt /f\nADD d /dir\nADD --chown=9:10 x1.txt /o\nADD t.dat /dat/\nADD t.tar d /mix/\nCOPY t.tar.gz /c/\nADD notar.tar /nt/\nADD empty.tar /et/\nADD t.tar /plain/\n",
    ),
    case(
        "add-tar-over",
        "FROM localhost/base\nRUN mkdir /t && echo old >/t/a && mkdir -m 711 -p /o/d && ln -s /t /lt\nADD t.tar /o/\nADD t.tar /lt/\n",
    ),
    case("add-tar-broken", "FROM scratch\nADD broken.tar.gz /\n"),
    case("from-names", "FROM scratch AS One\nCOPY x1.txt /\nFROM one AS two-2.x_y\nFROM two-2.x_y\nCOPY x2.txt /\n").classic(&[("x2.txt", SETUID)]),
    with("target", "--target one", "FROM scratch AS one\nCOPY x1.txt /\nFROM scratch\nCOPY nope /\n"),
    with("target-upper", "--target ONE", "FROM scratch AS one\nCOPY x1.txt /\nFROM scratch\nCOPY nope /\n"),
    with("labels", "--label a=option --label z=1", "FROM localhost/base\nLABEL a=file b=2\n"),
    case("from-base", "FROM localhost/base\n"),
    case("run-flag-after", "FROM localhost/base\nRUN echo --mount=x >/1\n"),
    case(
        "escape",
        "# escape=`\nFROM localhost/base\nENV a=x`$b c=d\\e f=\"g`\"h\"\nRUN echo `\n  b >/1\nCOPY x1.txt /w\\x\nLABEL l=m` n\n",
    ),
    case("comments-2", "FROM localhost/base\nENV a=1 \\\n# in\n   # between\n b=2 \\\n\n c=3\n\t# tab\nLABEL d=#e\n"),
    case("bom", "\u{feff}   FROM localhost/base\n\tENV a=1\n  LABEL   b=2  \nENV c=1"),
    case("crlf", "FROM localhost/base\r\nENV a=1\r\nRUN echo a \\\r\n  b >/1\r\nCMD [\"x\"]\r\nENV b c\r\n"),
    case("continuation-end", "FROM localhost/base\nENV a=1 \\\n"),
];

/// What BuildKit and we refuse and the classic builder takes: a file in the place of a directory, and a directory in that
/// of a link to one.
pub const TAKEN: &[&str] = &[
    "FROM localhost/base\nRUN mkdir -p /t/a/b\nCOPY d/a /t/\n",
    "FROM localhost/base\nRUN mkdir -p /t /r && ln -s /r /t/sub\nCOPY d /t/\n",
];

/// What all refuse.
pub const REFUSED: &[&str] = &[
    "FROM localhost/base\nUSER nobody-here\nRUN true\n",
    "FROM localhost/base\nEXPOSE http\n",
    "FROM localhost/base\nEXPOSE 80/foo\n",
    "FROM localhost/base\nEXPOSE 9-8\n",
    "FROM localhost/base\nSTOPSIGNAL NOPE\n",
    "FROM localhost/base\nSTOPSIGNAL RTMIN+99\n",
    "FROM localhost/base\nSHELL /bin/sh -c\n",
    "FROM localhost/base\nSHELL []\n",
    "FROM localhost/base\nCMD [\"a\", 1]\n",
    "FROM localhost/base\nHEALTHCHECK --interval=1us CMD x\n",
    "FROM localhost/base\nHEALTHCHECK --retries=-1 CMD x\n",
    "FROM localhost/base\nHEALTHCHECK CMD\n",
    "FROM localhost/base\nHEALTHCHECK NONE x\n",
    "FROM localhost/base\nHEALTHCHECK x\n",
    "FROM localhost/base\nONBUILD ONBUILD RUN x\n",
    "FROM localhost/base\nONBUILD FROM x\n",
    "FROM localhost/base\nONBUILD MAINTAINER x\n",
    "FROM localhost/base\nRUN exit 3\n",
    "FROM scratch\nCOPY --chown=app x1.txt /\n",
    "FROM localhost/base\nRUN echo 1 >/f\nCOPY d /f\n",
    "FROM scratch\nCOPY nope /\n",
    "FROM scratch\nCOPY ../ctx/x1.txt /\n",
    "FROM scratch AS a\nCOPY --from=a /x /\n",
    "FROM localhost/base AS a\nFROM scratch\nCOPY --from=a /nope /\n",
    "FROM scratch\nCOPY [\"x1.txt\"]\n",
    "FROM scratch\nCOPY x1.txt\n",
    "FROM scratch\nADD --from=x a b\n",
    "FROM scratch AS t\nCOPY --from=1 /x1.txt /\nFROM scratch\nCOPY x1.txt /\nFROM t\n",
    "FROM localhost/base AS 1\n",
    "ENV a=b\n",
    "FROM localhost/base\nFOO bar\n",
    "FROM scratch\nCOPY --nope=1 x1.txt /\n",
    "# a\n  # b\nFROM localhost/base\n\n#ENV x=y\nENV a=1 # not a comment=x\n",
    "# escape=`\n# escape=`\nFROM localhost/base\n",
    "# escape=x\nFROM localhost/base\n",
];

const CONTEXT: &str = r#"
mkdir -p ctx/d/sub ctx/e/sub ctx/empty ctx/hards ctx/sticky/t ctx/setgid/g ctx/owned/o ctx/attrdir ctx/.hid && cd ctx
for f in d/a d/sub/b x1.txt x2.txt e/sub/c 'sp ace' 'br[1].txt' 'st*r' .hidden .hid/x ünï noread owned/f owned/o/g hard1 hards/1 capable attrs attrdir/f y1.txt; do echo "$f" >"$f"; done
ln -s ../x1.txt d/link; mkdir dang; ln -s /nowhere dang/ling; mkdir dang/sub; ln -s ../../.. dang/sub/up; ln -s d dirlink; ln -s x1.txt filelink; ln -s /x1.txt abslink; ln hard1 hard2; ln hards/1 hards/2
chmod 700 d/sub; chmod 4755 x2.txt; chmod 1777 sticky sticky/t; chmod 2775 setgid setgid/g; chmod 000 noread; chown -R 1000:1001 owned; chmod 600 owned/f
setcap cap_net_raw+ep capable; setfattr -n user.x -v y attrs; setfattr -n user.z -v y attrdir
mkdir ../t ../t/td && echo 1 >../t/td/f && ln ../t/td/f ../t/td/h && ln -s f ../t/td/l && mkfifo ../t/td/p && chmod 2750 ../t/td && chown 3:4 ../t/td/f && touch -d @1200000000 ../t/td/f ../t/td && echo 2 >../t/a
tar -C ../t -cf t.tar td a && gzip -k t.tar && bzip2 -k t.tar && xz -k t.tar && cp t.tar.gz t.dat && echo text | gzip >note.gz && echo no >notar.tar && tar -cf empty.tar -T /dev/null
head -c 100 t.tar.gz >broken.tar.gz; head -c 1500 t.tar >broken.tar
find . -exec touch -h -d @1500000000 {} +
"#;

/// The context, and a base image that the peers have too, with the places that dockerd mounts on.
pub fn room() -> Room {
    let room = Room::with_base();
    room.sh(CONTEXT).ok();
    room.write(
        "Dockerfile",
        "FROM base\nWORKDIR /dev\nWORKDIR /proc\nWORKDIR /sys\nWORKDIR /\nRUN mkdir -m 1777 /tmp\n",
    );
    room.sh("dfile-build -q -t localhost/base -f Dockerfile base").ok();
    room
}
