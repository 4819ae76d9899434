//! img-search against a real registry, and against one with docker's own search and with many pages.

use dock_tests::liar::{Liar, reply};
use dock_tests::registry::Registry;
use dock_tests::{Room, needs};

fn three_tags(room: &Room, host: &str) {
    room.sh("mkdir t && echo x >t/x && tar -C t -cf t.tar . && img-append --layout l --base scratch --layer t.tar --tag made").ok();
    for name in ["team/app:1", "team/app:2", "team/app:3", "other:1"] {
        room.sh(&format!("img-push --layout l --to {host}/{name} made")).ok();
    }
}

#[test]
fn tags_and_the_catalogue_of_a_real_registry() {
    needs!("docker-registry");
    let (room, registry) = (Room::new(), Registry::start());
    let host = registry.host();
    three_tags(&room, &host);
    let tags = room.sh(&format!("img-search --tags {host}/team/app | sort")).ok();
    let line = |tag: u8| format!(r#"{{"ref":"{host}/team/app:{tag}","tag":"{tag}"}}"#);
    assert_eq!(tags, [1, 2, 3].map(line).join("\n"));
    room.sh(&format!(
        "img-search --tags {host}/team/app | sed 's/.*\"ref\":\"\\([^\"]*\\)\".*/\\1/' | xargs img-pull --layout copy"
    ))
    .ok();
    // The same through the tool that people think of, which itself knows no TLS.
    assert_eq!(room.sh(&format!("img-ls --remote {host}/team/app | sort")).ok(), tags);
    let table = room.sh(&format!("dock images --remote {host}/team/app")).ok();
    assert!(table.starts_with("REPOSITORY ") && table.contains("/team/app   2"), "{table}");
    room.sh(&format!("img-ls --remote {host}/none")).fails(1, "NAME_UNKNOWN");
    room.sh(&format!("img-ls --remote={host}/app -q")).fails(2, "cannot be used with");
    let found = room.sh(&format!("img-search {host}/app")).ok();
    assert_eq!(found, format!(r#"{{"name":"{host}/team/app","description":"","stars":0,"official":false}}"#));
    let table = room.sh(&format!("dock search {host}/app")).ok();
    assert!(table.starts_with("NAME ") && table.contains(&format!("\n{host}/team/app ")), "{table}");
    room.sh(&format!("img-search --tags {host}/none")).fails(1, "NAME_UNKNOWN");
    room.sh(&format!("img-search --tags {host}/team/app:1")).fails(2, "without tag and digest");
}

#[test]
fn pages_and_dockers_search() {
    let room = Room::new();
    let liar = Liar::start(|head, _| {
        match head.split(' ').nth(1).unwrap() {
        "/v2/app/tags/list" => {
            reply("200 OK", &[("Link", "</v2/app/tags/list?last=b>; rel=\"next\"")], br#"{"tags":["a","b"]}"#)
        }
        "/v2/app/tags/list?last=b" => reply("200 OK", &[], br#"{"tags":["c","d\u001b[31m"]}"#),
        "/v2/round/tags/list" => reply("200 OK", &[("Link", "</v2/round/tags/list>; rel=\"next\"")], br#"{"tags":["a"]}"#),
        "/v1/search?q=a%20b&n=2" | "/v1/search?q=a%20b&n=25" => {
            reply("200 OK", &[], br#"{"results":[{"name":"nginx","description":"Official build\n of a \u001bserver that is described at great length","star_count":7,"is_official":true}]}"#)
        }
        "/v2/" => reply("200 OK", &[], b"{}"),
        _ => reply("404 Not Found", &[], b""),
    }
    });
    let host = liar.host();
    let tags = room.sh(&format!("img-search --tags {host}/app --format table")).ok();
    assert_eq!(tags.lines().count(), 4, "what is no tag is left out: {tags}");
    room.sh(&format!("img-search --tags {host}/round")).fails(1, "more than 1000 pages");
    let found = room.sh(&format!("dock search --limit 2 '{host}/a b'")).ok();
    let row = found.lines().nth(1).unwrap();
    assert!(row.starts_with(&format!("{host}/nginx   Official build  of a  server that is describ…   7 ")), "{found}");
    assert!(row.ends_with("[OK]"), "{found}");
    let search = |more: &str| room.sh(&format!("dock search {more} '{host}/a b'"));
    let line = search("--format '{{.Name}} {{.StarCount}} {{.IsOfficial}}' -f is-official=true --filter stars=7").ok();
    assert_eq!(line, format!("{host}/nginx 7 [OK]"));
    for none in ["stars=8", "is-official=false", "is-automated=true"] {
        assert_eq!(search(&format!("--format '{{{{.Name}}}}' -f {none}")).ok(), "", "{none}");
    }
    let shown = search("--format json --no-trunc").ok();
    assert!(shown.contains("\"StarCount\":\"7\"") && shown.contains("at great length\""), "{shown}");
    search("-f stars=many").fails(2, "invalid filter 'stars=many'");
    search("-f color=red").fails(2, "invalid filter 'color'");
    search("--format '{{.Nope}}'").fails(1, "Nope");
    let tags = room.sh(&format!("img-ls --remote {host}/app --format '{{{{.Tag}}}}'")).ok();
    assert_eq!(tags, "a\nb\nc", "a template goes along");
    room.sh(&format!("img-search --limit 0 {host}/x")).fails(2, "--limit");
}
