//! img-login against a real registry with passwords: what it leaves in docker's file, and what it never does.

use dock_tests::liar::{Liar, reply};
use dock_tests::registry::Registry;
use dock_tests::{Room, needs};
use serde_json::{Value, json};

fn config(room: &Room) -> Value {
    serde_json::from_str(&std::fs::read_to_string(room.path(".docker/config.json")).unwrap()).unwrap()
}

#[test]
fn login_push_and_logout() {
    needs!("docker-registry", "skopeo");
    let room = Room::new();
    let registry = Registry::with_password(&room);
    let host = registry.host();
    // What others keep in the file is theirs.
    room.write(
        ".docker/config.json",
        r#"{"HttpHeaders":{"X":"y"},"auths":{"other.example":{"auth":"YTpi"}},"detachKeys":"ctrl-x"}"#,
    );
    let login = format!("echo secret | img-login -u me --password-stdin {host}");
    assert_eq!(room.sh(&login).ok(), "Login Succeeded");
    let want = json!({"HttpHeaders": {"X": "y"}, "auths": {"other.example": {"auth": "YTpi"}, &host: {"auth": "bWU6c2VjcmV0"}}, "detachKeys": "ctrl-x"});
    assert_eq!(config(&room), want);
    assert_eq!(room.sh("stat -c %a .docker/config.json; ls -A .docker").ok(), "600\nconfig.json");
    // Others read it, and so do our tools.
    room.sh("mkdir t && echo x >t/x && tar -C t -cf t.tar . && img-append --layout l --base scratch --layer t.tar --tag made").ok();
    room.sh(&format!("img-push --layout l --to {host}/app:1 made")).ok();
    room.sh(&format!("skopeo inspect --authfile .docker/config.json --tls-verify=false docker://{host}/app:1")).ok();
    // Once more changes nothing.
    room.sh(&format!("{login} && dock login -u me -p secret http://{host}/")).ok();
    assert_eq!(config(&room), want);

    assert_eq!(room.sh(&format!("dock logout {host}")).ok(), format!("Removing login credentials for {host}"));
    assert_eq!(config(&room)["auths"], json!({"other.example": {"auth": "YTpi"}}));
    assert_eq!(room.sh(&format!("img-login --logout {host}")).ok(), format!("Not logged in to {host}"));
}

#[test]
fn what_the_registry_refuses_is_not_kept() {
    needs!("docker-registry");
    let room = Room::new();
    let registry = Registry::with_password(&room);
    let host = registry.host();
    let ran = room.sh(&format!("echo wrong | img-login -u me --password-stdin {host}"));
    assert!(!ran.stderr.contains("wrong") && ran.stdout.is_empty(), "{ran:#?}");
    ran.fails(1, "log in");
    assert!(!room.path(".docker").exists());
    // A file that cannot be read is not replaced either.
    room.write(".docker/config.json", "{");
    room.sh(&format!("echo secret | img-login -u me --password-stdin {host}")).fails(1, "config.json");
    assert_eq!(std::fs::read_to_string(room.path(".docker/config.json")).unwrap(), "{");
}

#[test]
fn a_helper_keeps_the_secret() {
    needs!("docker-registry");
    let room = Room::new();
    let registry = Registry::with_password(&room);
    let host = registry.host();
    room.write(
        "bin/docker-credential-box",
        "#!/bin/sh\ncase $1 in store) cat >box ;; get) [ -f box ] && cat box || { echo credentials not found in native keychain; exit 1; } ;; erase) cat >erased; rm box ;; esac\n",
    );
    room.sh("chmod +x bin/*").ok();
    for configured in [json!({"credsStore": "box"}), json!({"credHelpers": {&host: "box"}})] {
        room.write(".docker/config.json", configured.to_string());
        let with = "PATH=$PWD/bin:$PATH";
        assert_eq!(
            room.sh(&format!("echo secret | {with} img-login -u me --password-stdin {host}")).ok(),
            "Login Succeeded"
        );
        let kept: Value = serde_json::from_str(&room.sh("cat box").ok()).unwrap();
        assert_eq!(kept, json!({"ServerURL": host, "Username": "me", "Secret": "secret"}));
        assert_eq!(config(&room)["auths"], json!({&host: {}}));
        let pulled = room.sh(&format!("{with} img-pull --layout l {host}/none:1"));
        assert!(pulled.stderr.contains("MANIFEST_UNKNOWN"), "let in: {pulled:#?}");
        room.sh(&format!("{with} img-login --logout {host}")).ok();
        assert_eq!(room.sh("cat erased; ls box 2>/dev/null || echo gone").ok(), format!("{host}gone"));
        assert_eq!(config(&room)["auths"], json!({}));
        // A helper that fails leaves no half login.
        let ran = room.sh(&format!("echo secret | img-login -u me --password-stdin {host}"));
        assert!(ran.code == 1 && ran.stderr.contains("docker-credential-box"), "{ran:#?}");
        assert_eq!(config(&room)["auths"], json!({}));
    }
}

#[test]
fn the_hub_has_its_old_name_and_a_link_stays_one() {
    let room = Room::new();
    room.write("real/config.json", r#"{"auths":{"https://index.docker.io/v1/":{"auth":"YTpi"},"docker.io":{}}}"#);
    room.sh("mkdir .docker && ln -s ../real/config.json .docker/config.json && chmod 644 real/config.json").ok();
    assert_eq!(room.sh("dock logout").ok(), "Removing login credentials for https://index.docker.io/v1/");
    assert_eq!(config(&room), json!({"auths": {}}));
    assert_eq!(room.sh("readlink .docker/config.json; stat -c %a real/config.json").ok(), "../real/config.json\n600");
}

/// The password goes to the token server over the registry's word only where DESIGN 7.7 allows it.
#[test]
fn a_login_by_token() {
    let room = Room::new();
    let tokens = Liar::start(|head, _| match head.contains("authorization: basic bwu6c2vjcmv0\r\n") {
        true => reply("200 OK", &[], br#"{"token":"t0ken"}"#),
        false => reply("401 Unauthorized", &[], b""),
    });
    let registry = Liar::start({
        let realm = format!("http://{}/token", tokens.host());
        move |head, _| match head.contains("authorization: bearer t0ken\r\n") {
            true => reply("200 OK", &[], b"{}"),
            false => reply(
                "401 Unauthorized",
                &[("WWW-Authenticate", &format!("Bearer realm=\"{realm}\",service=\"s\""))],
                b"",
            ),
        }
    });
    let host = registry.host();
    room.sh(&format!("echo secret | img-login -u me --password-stdin {host}")).ok();
    room.sh(&format!("echo other | img-login -u me --password-stdin {host}")).fails(1, "401 Unauthorized");
    assert_eq!(config(&room)["auths"][&host]["auth"], "bWU6c2VjcmV0", "the good one stays");
    let elsewhere = Liar::start(|_, _| {
        reply("401 Unauthorized", &[("WWW-Authenticate", "Bearer realm=\"http://192.0.2.1/t\"")], b"")
    });
    room.sh(&format!("echo secret | img-login -u me --password-stdin {}", elsewhere.host()))
        .fails(1, "plain http leaves");
}

#[test]
fn wrong_command_lines() {
    let room = Room::new();
    room.sh("echo x | img-login --password-stdin r.example").fails(2, "Must provide --username with --password-stdin");
    room.sh("img-login -u me r.example").fails(1, "non TTY device");
    room.sh("img-login -u me -p x r.example/app").fails(2, "is not a registry host");
    room.sh("img-login -u me:you -p x r.example").fails(2, "no colon");
    room.sh("img-login -u '' -p x r.example").fails(2, "must not be empty");
    room.sh("img-login --logout -u me r.example").fails(2, "--logout");
}
