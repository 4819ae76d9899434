use super::*;
use serde_json::json;

fn image() -> Value {
    json!({
        "Id": "sha256:97c5", "RepoTags": ["base:1", "other/name:2"], "RepoDigests": [], "Size": 1_982_256,
        "Config": {
            "User": "", "Cmd": ["/bin/sh", "-c", "echo hi"], "Entrypoint": null, "Healthcheck": null, "OnBuild": null,
            "Labels": {"l2": "two words", "com.x": "1"}, "ExposedPorts": {"80/tcp": {}, "443/udp": {}},
            "Volumes": null,
        },
        "Os": "linux", "GraphDriver": {"Data": null, "Name": "vfs"}, "RootFS": {"Type": "layers", "Layers": ["sha256:47"]},
    })
}

fn rendered(template: &str) -> String {
    match Template::parse(template).and_then(|template| template.render(&image())) {
        Ok(text) | Err(Error::Parse(text) | Error::Execute(text)) => text,
    }
}

/// Every pair was seen beside docker 20.10.24 and 28.2.2.
#[test]
fn prints_what_docker_prints() {
    for (template, want) in [
        ("{{.Config.Labels}}", "map[com.x:1 l2:two words]"),
        ("{{.Config.Labels.nope}}", "<no value>"),
        (r#"{{index .Config.Labels "nope"}}"#, ""),
        (r#"{{index .Config.Labels "com.x"}}"#, "1"),
        ("{{.Config.Entrypoint}}", "[]"),
        ("{{.Config.OnBuild}}", "[]"),
        ("{{.Config.Healthcheck}}", "<nil>"),
        ("{{.Config.StopSignal}}{{.Config.Shell}}{{with .Config.StopTimeout}}x{{end}}", "[]"),
        ("{{.GraphDriver}}", "{map[] vfs}"),
        ("{{.RootFS}}", "{layers [sha256:47]}"),
        ("{{.RepoDigests}}", "[]"),
        ("{{.Config.ExposedPorts}}", "map[443/udp:{} 80/tcp:{}]"),
        ("{{json .Config.ExposedPorts}}", r#"{"443/udp":{},"80/tcp":{}}"#),
        ("{{json .Config.Entrypoint}} {{json .RepoTags}}", r#"null ["base:1","other/name:2"]"#),
        ("{{json .GraphDriver}}", r#"{"Data":null,"Name":"vfs"}"#),
        ("{{json .RootFS}}", r#"{"Type":"layers","Layers":["sha256:47"]}"#),
        (r#"{{.ID | upper | printf "%.9s"}}"#, "SHA256:97"),
        ("{{range $k, $v := .Config.Labels}}{{$k}}={{$v}};{{end}}", "com.x=1;l2=two words;"),
        ("{{range $i, $e := .Config.Cmd}}{{$i}}{{$e}}{{end}}", "0/bin/sh1-c2echo hi"),
        ("{{range .Config.Entrypoint}}x{{else}}none{{end}}", "none"),
        ("{{range .}}x{{end}}", "xxxxxxxx"),
        (r#"{{join .Config.Cmd "|"}}"#, "/bin/sh|-c|echo hi"),
        (r#"{{join .Config.Entrypoint "|"}}."#, "."),
        ("{{len .Config.Labels}} {{len .RepoTags}} {{len .Config.Volumes}}", "2 2 0"),
        (r#"{{title "a bc"}} {{split "a,b" ","}} {{truncate "abc" 2}}"#, "A Bc [a b] ab"),
        (r#"{{pad "a" 1 2}}|{{pad "" 1 2}}|"#, " a  ||"),
        ("{{println .Config.Cmd}}", "[/bin/sh -c echo hi]\n"),
        (r#"{{eq .Os "linux"}} {{and 1 0}} {{or "" "x"}} {{not true}} {{lt 1 2}}"#, "true 0 x false true"),
        (
            r#"{{.Size}} {{printf "%d %05d %x %q %v" .Size 7 255 .Os .RepoTags}}"#,
            r#"1982256 1982256 00007 ff "linux" [base:1 other/name:2]"#,
        ),
        ("{{slice .Os 1}} {{index .Config.Cmd 0}}", "inux /bin/sh"),
        ("{{with .Config}}{{.User}}{{$.Os}}{{end}}", "linux"),
        (r#"{{if eq .Os "windows"}}w{{else if eq .Os "linux"}}l{{else}}?{{end}}"#, "l"),
        ("{{with .Config.Healthcheck}}yes{{else}}no{{end}}", "no"),
        ("a  {{- /* none */ -}}  b {{- .Os -}} c", "ablinuxc"),
        ("{{(index .RepoTags 1)}} {{$x := .Os}}{{$x}}", "other/name:2 linux"),
        (r#"{{define "d"}}<{{.Os}}>{{end}}{{template "d" .}}"#, "<linux>"),
        (r"a\tb\n", r"a\tb\n"),
    ] {
        assert_eq!(rendered(template), want, "{template}");
    }
}

#[test]
fn says_what_docker_says() {
    for (template, want) in [
        ("{{", "template: :1: unclosed action"),
        ("{{foo .ID}}", r#"template: :1: function "foo" not defined"#),
        ("{{$x}}", r#"template: :1: undefined variable "$x""#),
        ("{{range .RepoTags}}{{$y := .}}{{end}}\n{{$y}}", r#"template: :2: undefined variable "$y""#),
        ("{{.Nope}}", r#"template: :1:2: executing "" at <.Nope>: map has no entry for key "Nope""#),
        ("\n {{.Nope}}", r#"template: :2:3: executing "" at <.Nope>: map has no entry for key "Nope""#),
        ("{{if .Nope}}x{{end}}", r#"template: :1:5: executing "" at <.Nope>: map has no entry for key "Nope""#),
        ("{{.Config.Nope}}", r#"template: :1:9: executing "" at <.Config.Nope>: map has no entry for key "Nope""#),
        (
            "{{.Config.Nope.Very.Long.Thing.Indeed}}",
            r#"template: :1:9: executing "" at <.Config.Nope.Very.Long.Thing.Indeed>: map has no entry for key "Nope""#,
        ),
        (
            "{{.Size.Foo}}",
            r#"template: :1:7: executing "" at <.Size.Foo>: can't evaluate field Foo in type interface {}"#,
        ),
        (
            "{{index .RepoTags 9}}",
            r#"template: :1:2: executing "" at <index .RepoTags 9>: error calling index: index out of range: 9"#,
        ),
        (
            "{{join .Config.Cmd}}",
            r#"template: :1:2: executing "" at <join>: wrong number of args for join: want 2 got 1"#,
        ),
        (
            "{{upper .RepoTags}}",
            r#"template: :1:8: executing "" at <.RepoTags>: wrong type for value; expected string; got []interface {}"#,
        ),
    ] {
        assert_eq!(rendered(template), want, "{template}");
    }
    assert_eq!(Template::parse("{{").unwrap_err().to_string(), "template parsing error: template: :1: unclosed action");
}

#[test]
fn a_list_has_headings_and_methods() {
    let rows = [Row { fields: json!({"ID": "97c5", "Names": "<none>"}), methods: json!({"Label": {"com.x-y": "1"}}) }];
    let headings = &[("ID", "CONTAINER ID"), ("Names", "NAMES")];
    let sheet = Sheet { kind: "*formatter.ContainerContext", headings };
    let listed = |format: &str| Listing::parse(format).and_then(|listing| listing.render(&sheet, &rows));
    for (format, want) in [
        ("json", "{\"ID\":\"97c5\",\"Names\":\"\\u003cnone\\u003e\"}\n"),
        ("{{.Names}}", "<none>\n"),
        (r"{{.ID}}\t{{.Names}}", "97c5\t<none>\n"),
        (r#"{{.Label "com.x-y"}}{{.Label "none"}}"#, "1\n"),
        (r#"table {{upper .ID}}\t{{.Label "com.x-y"}}"#, "CONTAINER ID\tx y\n97C5\t1\n"),
        (r#"table {{.ID | printf "%.3s"}}"#, "CON\n97c\n"),
    ] {
        assert_eq!(listed(format).unwrap(), want, "{format}");
    }
    assert!(
        Listing::parse("{{if .Size}}{{end}}").unwrap().names("Size") && !Listing::parse("Size").unwrap().names("Size")
    );
    let wrong = listed("{{.Nope}}").unwrap_err();
    assert_eq!(
        wrong.cause(),
        r#"template: :1:2: executing "" at <.Nope>: can't evaluate field Nope in type *formatter.ContainerContext"#
    );
}

/// Whatever the template, it ends, and in a text or an error.
#[test]
fn no_template_is_a_panic() {
    let pieces = [
        "{{",
        "}}",
        "{{-",
        "-}}",
        ".",
        "$",
        "$x",
        ":=",
        "=",
        "|",
        "(",
        ")",
        "range",
        "if",
        "else",
        "end",
        "with",
        "define",
        "template",
        "block",
        "break",
        "continue",
        "\"d\"",
        "`",
        "'",
        "9",
        "-1",
        "0x",
        "1e99",
        " ",
        " ",
        "\n",
        ".Config",
        ".RepoTags",
        ".Size",
        "nil",
        "true",
        "index",
        "slice",
        "printf",
        "\"%99999s%*d\"",
        "json",
        "truncate",
        "pad",
        "split",
        "\"\"",
        "len",
        "ä",
        "\u{0}field",
        "/*",
        "*/",
        ",",
        "and",
        "call",
        "html",
    ];
    let seed = std::hash::BuildHasher::hash_one(&std::collections::hash_map::RandomState::new(), 1);
    let mut state = seed;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below
    };
    let (document, mut ran) = (image(), 0);
    for _ in 0..20_000 {
        // Half of them are an action around the pieces, or nothing would ever parse.
        let inner: String = (0..random(9)).map(|_| [pieces[random(pieces.len())], " "].concat()).collect();
        let text = if random(2) == 0 { format!("{{{{{inner}}}}}") } else { inner };
        let result = std::panic::catch_unwind(|| Template::parse(&text).and_then(|t| t.render(&document)));
        ran += usize::from(result.unwrap_or_else(|_| panic!("seed {seed}: {text:?}")).is_ok());
    }
    assert!(ran > 100, "only {ran} of them ran: seed {seed}");
}

#[test]
fn nothing_goes_too_deep_or_too_far() {
    for template in [
        format!("{}.Os{}", "{{".to_owned() + &"(".repeat(50_000), ")".repeat(50_000) + "}}"),
        "{{if .Os}}".repeat(50_000) + &"{{end}}".repeat(50_000),
        r#"{{define "d"}}{{template "d" .}}{{end}}{{template "d" .}}"#.into(),
        "{{range 100000}}{{range 100000}}{{end}}{{end}}".into(),
        r#"{{range 100000}}{{printf "%60000d" 1}}{{end}}"#.into(),
        "x".repeat(LONGEST_TEMPLATE + 1),
    ] {
        let ran = Template::parse(&template).and_then(|template| template.render(&image()));
        assert!(ran.is_err(), "{}", &template[..40]);
    }
    let nested = format!("{{{{{}.Os{}}}}}", "(".repeat(40), ")".repeat(40));
    assert_eq!(rendered(&nested), "linux");
}

#[test]
fn an_element_is_indented_as_docker_does() {
    let want =
        "    {\n        \"A\": [\n            \"x\\ny\"\n        ],\n        \"B\": {},\n        \"C\": []\n    }";
    assert_eq!(element(&json!({"A": ["x\ny"], "B": {}, "C": []})), want);
}
