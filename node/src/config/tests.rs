use super::*;

const NODE: &str = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";

fn load(file: &str, environment: &[(&str, &str)]) -> Result<Config, NodeError> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("larderd.toml"), file).unwrap();
    let environment = environment
        .iter()
        .map(|&(name, value)| (name.into(), value.into()));
    Config::load(None, Some(folder.path()), environment)
}

fn problem(result: Result<Config, NodeError>) -> String {
    result.expect_err("a wrong configuration").to_string()
}

#[test]
fn the_printed_defaults_are_the_defaults_and_every_key_is_explained() {
    let (printed, empty) = (load(DEFAULTS, &[]), load("", &[]));
    let without_folder = |config: Result<Config, NodeError>| {
        format!(
            "{:?}",
            Config {
                data_dir: PathBuf::new(),
                ..config.unwrap()
            }
        )
    };
    // `data_dir` is the one key that the flag outdoes.
    assert_eq!(without_folder(printed), without_folder(empty));
    let lines: Vec<&str> = DEFAULTS.lines().collect();
    for (above, line) in lines.iter().zip(&lines[1..]) {
        assert!(
            !line.contains(" = ") || above.starts_with('#'),
            "no comment above `{line}`"
        );
    }
}

#[test]
fn the_file_outdoes_the_defaults_and_the_environment_the_file() {
    let lsp = format!("{NODE}@127.0.0.1:9735");
    let file = format!("lsps = [\"{lsp}\"]\n[store]\ncache_mib = 8\n[limits]\nworkers = 3\n");
    let config = load(
        &file,
        &[("LARDERD_STORE_CACHE_MIB", "16"), ("PATH", "/bin")],
    )
    .unwrap();
    assert_eq!(
        (config.cache_bytes, config.workers, config.lsps.len()),
        (16 << 20, 3, 1)
    );
    let two = format!("{lsp}, {lsp}");
    assert_eq!(
        load(&file, &[("LARDERD_LSPS", &two)]).unwrap().lsps.len(),
        2
    );
}

#[test]
fn a_list_of_numbers_can_be_set_in_the_environment_too() {
    let set = |value| load("", &[("LARDERD_PRICES_REFUNDS", value)]);
    assert_eq!(set("5, 3").unwrap().offer.refunds, [5, 3]);
    assert!(set("").unwrap().offer.refunds.is_empty());
    assert!(problem(set("5, much")).contains("`much` is not a number"));
}

#[test]
fn a_misspelt_key_is_refused_with_the_nearest_right_one() {
    assert!(problem(load("lisen = \"127.0.0.1:1\"", &[])).contains("did you mean `listen`?"));
    let text = problem(load("[store]\ncash_mib = 1", &[]));
    assert!(
        text.contains("`store.cash_mib`; did you mean `store.cache_mib`?"),
        "{text}"
    );
    let text = problem(load("", &[("LARDERD_STORE_CASH_MIB", "1")]));
    assert!(
        text.contains("did you mean LARDERD_STORE_CACHE_MIB?"),
        "{text}"
    );
}

#[test]
fn a_wrong_value_is_refused_with_the_key_it_was_for() {
    for (file, part) in [
        ("listen = 5", "`listen` takes string, not integer"),
        ("listen = \"nowhere\"", "listen (ip:port)"),
        ("lsps = [\"nobody\"]", "there is no '@'"),
        (
            "payment = \"gold\"",
            "`gold` is no value for payment: take credentials or none",
        ),
        ("[credentials]\ntill = \"lightning\"", "credentials.till"),
        ("[credentials]\nearlier_epochs = 0", "from 1 to 16, not 0"),
        ("[credentials]\nepoch_seconds = 59", "from 60 to 31536000"),
        ("[prices]\nrefunds = [16]", "`prices.refunds` must be below"),
        ("[prices]\nrefunds = [\"8\"]", "expected i64"),
        ("[prices]\nrefund = [8]", "did you mean `prices.refunds`?"),
        ("log_level = \"loud\"", "take error, warn, info or debug"),
        ("breakglass_seconds = 59", "from 60 to 2592000, not 59"),
        (
            "[prices]\ninsert = 3000\nbreakglass = 93",
            "`prices.breakglass` must be at least 94, not 93",
        ),
        ("[limits]\nopens_per_second = 0", "from 1 to 65536, not 0"),
        ("[store]\ncache_mib = -1", "cache_mib"),
        ("store = 1", "`store` takes table, not integer"),
        ("[[[", "not TOML"),
    ] {
        let text = problem(load(file, &[]));
        assert!(text.contains(part), "{file}: {text}");
    }
    let text = problem(load("", &[("LARDERD_LIMITS_WORKERS", "many")]));
    assert!(
        text.contains("LARDERD_LIMITS_WORKERS: `many` is not a number"),
        "{text}"
    );
}

#[test]
fn a_file_that_was_named_must_exist() {
    let result = Config::load(Some(Path::new("/nowhere/larderd.toml")), None, []);
    assert!(matches!(result, Err(NodeError::File { .. })));
}

#[test]
fn a_number_out_of_bounds_is_refused_with_the_bounds() {
    for (key, value, bounds) in [
        (
            "LARDERD_LIMITS_WRITES_IN_FLIGHT",
            "4294967295",
            "from 1 to 65536",
        ),
        ("LARDERD_LIMITS_WRITES_IN_FLIGHT", "0", "from 1 to 65536"),
        (
            "LARDERD_LIMITS_INBOUND_PEERS",
            "4294967295",
            "from 1 to 65536",
        ),
        ("LARDERD_LIMITS_WORKERS", "65535", "from 0 to 1024"),
        (
            "LARDERD_STORE_CACHE_MIB",
            "9223372036854775807",
            "from 0 to",
        ),
        ("LARDERD_STORE_FREE_SPACE_FLOOR_MIB", "-1", "from 0 to"),
    ] {
        let text = problem(load("", &[(key, value)]));
        assert!(text.contains(bounds), "{key}: {text}");
    }
}

#[test]
fn a_variable_that_is_not_text_matters_only_if_it_is_ours() {
    use std::os::unix::ffi::OsStringExt;
    let odd = || OsString::from_vec(vec![b'x', 0xff]);
    let folder = tempfile::tempdir().unwrap();
    let load = |name: OsString| Config::load(None, Some(folder.path()), [(name, odd())]);
    assert!(load("PATH".into()).is_ok() && load(odd()).is_ok());
    let text = problem(load("LARDERD_LISTEN".into()));
    assert!(
        text.contains("LARDERD_LISTEN: its value is not UTF-8"),
        "{text}"
    );
}

#[test]
fn a_tilde_is_the_home_folder_and_a_folder_need_not_be_text() {
    use std::os::unix::ffi::OsStringExt;
    let home = || [("HOME".into(), "/home/satoshi".into())];
    let folder = |data_dir: &Path| Config::load(None, Some(data_dir), home()).unwrap().data_dir;
    assert_eq!(folder(Path::new("~")), Path::new("/home/satoshi"));
    assert_eq!(
        folder(Path::new("~/larder")),
        Path::new("/home/satoshi/larder")
    );
    assert_eq!(folder(Path::new("/~x")), PathBuf::from("/~x"));
    let odd = PathBuf::from(OsString::from_vec(vec![b'/', 0xff]));
    assert_eq!(folder(&odd), odd);
}

#[test]
fn without_a_home_folder_no_folder_is_made_wherever_it_was_started_but_a_named_one_is_used() {
    let load = |environment: &[(&str, &str)]| {
        let environment = environment.iter();
        let environment = environment.map(|&(name, value)| (name.into(), value.into()));
        Config::load(None, None, environment)
    };
    let folder = |environment: &[(&str, &str)]| load(environment).unwrap().data_dir;
    for nowhere in [
        &[][..],
        &[("HOME", "")],
        &[("HOME", "here")],
        &[("XDG_STATE_HOME", "state")],
    ] {
        let text = problem(load(nowhere));
        assert!(
            text.contains("--data-dir") && text.contains("LARDERD_DATA_DIR"),
            "{text}"
        );
    }
    let text = problem(load(&[("LARDERD_DATA_DIR", "~/mine")]));
    assert!(text.contains("HOME is not set"), "{text}");
    assert_eq!(folder(&[("HOME", "/h")]), Path::new("/h/.larderd"));
    assert_eq!(
        folder(&[("XDG_STATE_HOME", "/s"), ("HOME", "")]),
        Path::new("/s/larderd")
    );
    assert_eq!(
        folder(&[("XDG_STATE_HOME", "/s"), ("HOME", "/h")]),
        Path::new("/h/.larderd")
    );
    let service = ("STATE_DIRECTORY", "/var/lib/larderd:/var/lib/other");
    assert_eq!(folder(&[service]), Path::new("/var/lib/larderd"));
    assert_eq!(
        folder(&[("HOME", "/h"), service]),
        Path::new("/var/lib/larderd")
    );
    let named = ("LARDERD_DATA_DIR", "/mine");
    assert_eq!(folder(&[named, service]), Path::new("/mine"));
    assert_eq!(defaults()["data_dir"].as_str(), Some(DEFAULT_FOLDER));
}

#[test]
fn what_is_empty_is_not_set_and_names_no_folder_wherever_it_was_started() {
    let home = ("HOME", "/h");
    let of = |environment: &[(&str, &str)]| {
        let environment = environment.iter();
        let environment = environment.map(|&(name, value)| (name.into(), value.into()));
        Config::load(None, None, environment)
    };
    let set = of(&[home, ("LARDERD_DATA_DIR", "")]).unwrap();
    assert_eq!(set.data_dir, Path::new("/h/.larderd"));
    assert!(of(&[("LARDERD_DATA_DIR", "")]).is_err());
    let defaults = load("", &[]).unwrap();
    for name in [
        "LARDERD_LISTEN",
        "LARDERD_PAYMENT",
        "LARDERD_LIMITS_WORKERS",
    ] {
        let empty = load("", &[(name, "")]).unwrap();
        assert_eq!(
            (empty.listen, empty.payment, empty.workers),
            (defaults.listen, defaults.payment, defaults.workers)
        );
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file.toml");
    std::fs::write(&file, "data_dir = \"\"").unwrap();
    for (file, data_dir) in [(Some(&*file), None), (None, Some(Path::new("")))] {
        let text = problem(Config::load(
            file,
            data_dir,
            [(OsString::from("HOME"), "/h".into())],
        ));
        assert!(text.contains("it is empty"), "{text}");
    }
}

#[test]
fn the_home_folder_of_another_user_is_not_made_where_it_was_started() {
    for name in ["~satoshi/d", "~satoshi", "~~"] {
        let text = problem(load_at(name));
        assert!(text.contains(name) && text.contains("whole path"), "{text}");
    }
    assert_eq!(load_at("./~x").unwrap().data_dir, Path::new("./~x"));
}

fn load_at(data_dir: &str) -> Result<Config, NodeError> {
    let home = (OsString::from("HOME"), OsString::from("/h"));
    let data_dir = (OsString::from("LARDERD_DATA_DIR"), data_dir.into());
    Config::load(None, None, [home, data_dir])
}

#[test]
fn a_node_in_the_home_folder_that_systemds_folder_outdoes_is_named() {
    let home = tempfile::tempdir().unwrap();
    let kept = home.path().join(".larderd");
    let load = |data_dir: Option<&Path>| {
        let home = (OsString::from("HOME"), home.path().into());
        let state = (OsString::from("STATE_DIRECTORY"), "/var/lib/larderd".into());
        Config::load(None, data_dir, [home, state]).unwrap()
    };
    assert_eq!(load(None).passed_over, None);
    std::fs::create_dir(&kept).unwrap();
    std::fs::write(kept.join("seed"), "").unwrap();
    assert_eq!(load(None).data_dir, Path::new("/var/lib/larderd"));
    assert_eq!(load(None).passed_over.as_deref(), Some(&*kept));
    // Whoever names a folder knows which.
    assert_eq!(load(Some(Path::new("/mine"))).passed_over, None);
    assert_eq!(load(Some(&kept)).passed_over, None);
}

#[test]
fn variables_that_a_container_platform_sets_for_a_service_of_our_name_are_none_of_ours() {
    let foreign = [
        ("LARDERD_SERVICE_HOST", "10.0.0.1"),
        ("LARDERD_SERVICE_PORT", "9735"),
        ("LARDERD_SERVICE_PORT_P2P", "9735"),
        ("LARDERD_PORT", "tcp://10.0.0.1:9735"),
        ("LARDERD_PORT_9735_TCP", "tcp://10.0.0.1:9735"),
        ("LARDERD_PORT_9735_TCP_PROTO", "tcp"),
        ("LARDERD_PORT_9735_TCP_PORT", "9735"),
        ("LARDERD_PORT_9735_TCP_ADDR", "10.0.0.1"),
        ("LARDERD_PORT_53_UDP_ADDR", "10.0.0.1"),
        // For a service `larderd-metrics`, and by the links of containers.
        ("LARDERD_METRICS_SERVICE_HOST", "10.0.0.2"),
        ("LARDERD_METRICS_PORT", "udp://10.0.0.2:53"),
        ("LARDERD_NAME", "/wallet/larderd"),
        ("LARDERD_ENV_LARDERD_LISTEN", "127.0.0.1:1"),
        ("LARDERD_1_ENV_PATH", "/bin"),
    ];
    for variable in foreign {
        assert!(load("", &[variable]).is_ok(), "{variable:?}");
    }
    assert!(load("", &foreign).is_ok());
    // What somebody may have meant for us is still named.
    for (name, value) in [
        ("LARDERD_PORT", "9735"),
        ("LARDERD_PORTS", "tcp://10.0.0.1:9735"),
        ("LARDERD_PORT_X_TCP", "tcp://10.0.0.1:9735"),
        ("LARDERD_SERVICE", "9735"),
        ("LARDERD_NAME", "mine"),
    ] {
        assert!(
            problem(load("", &[(name, value)])).contains("did you mean"),
            "{name}"
        );
    }
}
