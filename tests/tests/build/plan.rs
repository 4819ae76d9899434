//! `--plan`: what would be built, from what, and what the cache has of it.

use dock_tests::{Room, needs};
use serde_json::{Value, json};

#[test]
fn the_plan_says_what_is_needed() {
    let room = Room::new();
    room.write("ctx/Dockerfile", "FROM scratch AS a\nCOPY x /\nFROM scratch AS b\nCOPY y /\nFROM a\nCMD x\n");
    let plan: Value = serde_json::from_str(&room.sh("dfile-build --plan ctx").ok()).unwrap();
    let needed: Vec<_> = plan["stages"].as_array().unwrap().iter().map(|stage| stage["needed"].clone()).collect();
    assert_eq!(needed, [json!(true), json!(false), json!(true)]);
    assert!(!room.path("root").exists(), "a plan writes nothing");
}

/// What each step takes files from, beside the context.
#[test]
fn the_plan_names_the_sources_of_a_step() {
    let room = Room::new();
    room.write("c/Dockerfile", "FROM a AS x\nFROM scratch\nCOPY --from=x /a /\nCOPY --from=img:1 /b /\nCOPY c /\n");
    let plan = room.sh("dfile-build --plan c | jq -c '[.stages[1].steps[].from], [.stages[].needed]'").ok();
    assert_eq!(plan, "[[{\"stage\":0}],[{\"image\":\"img:1\"}],null]\n[true,true]");
}

/// Up to the first step that is not cached; facts have nothing to say; neither the store nor a clock in it is touched.
#[test]
fn the_plan_says_what_the_cache_has_and_writes_nothing() {
    needs!(root, "busybox");
    let room = Room::with_base();
    room.write("ctx/f", "1");
    let steps = "FROM base AS one\nRUN echo >/1\nFROM scratch AS no\nCOPY f /\nFROM base\nENV A=1\nCOPY --from=one /1 /\nWORKDIR /w\nCOPY f ./\nRUN cat f\n";
    let plan = |room: &Room, text: &str, options: &str| {
        room.write("ctx/Dockerfile", text);
        let before = room.sh("find root -printf '%p %s %T@ %C@\\n' | sort").stdout;
        let plan = room.sh(&format!(
            "dfile-build --plan {options} ctx | jq -r '[.stages[].steps[] | .cache // \"-\"] | join(\" \")'"
        ));
        assert_eq!(room.sh("find root -printf '%p %s %T@ %C@\\n' | sort").stdout, before, "a plan writes nothing");
        plan.ok()
    };
    assert_eq!(plan(&room, steps, ""), "unknown - - unknown unknown unknown unknown");
    room.sh("dfile-build -q -t it ctx").ok();
    assert_eq!(plan(&room, steps, ""), "cached - - cached cached cached cached");
    assert_eq!(plan(&room, steps, "--target no"), "- unknown - - - - -");
    assert_eq!(plan(&room, steps, "--no-cache"), "unknown - - unknown unknown unknown unknown");
    assert_eq!(plan(&room, steps, "--no-cache-filter one"), "unknown - - unknown unknown unknown unknown");
    assert_eq!(
        plan(&room, &steps.replace("WORKDIR /w", "WORKDIR /v"), ""),
        "cached - - cached unknown unknown unknown"
    );
    room.write("ctx/f", "2");
    assert_eq!(plan(&room, steps, ""), "cached - - cached cached unknown unknown");
    let missing = "FROM base\nRUN echo >/1\nCOPY not-there /\n";
    assert_eq!(plan(&room, missing, ""), "cached unknown", "only a build complains");
    assert_eq!(plan(&room, "FROM not-there:1\nRUN x\n", ""), "unknown");
}
