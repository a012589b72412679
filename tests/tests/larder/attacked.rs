//! A wallet that has stored something with a malicious storage node, alone or beside two honest ones, and what must be
//! true of whatever is done with it then.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::by_hand::{folder_names, json_of, random};
use crate::processes::larderd_command;
use crate::processes::{
    Malicious, NodeProcess, RelayProcess, field, larder, relay, run_within, start, succeed,
};

/// How long any command may take, whatever the malicious storage node does: one that goes on for longer is kept busy by it. A
/// restore takes seconds; about a minute where nothing is answered, as all of forty look-ups are waited for, five seconds each
/// and fewer and fewer at once.
pub(crate) const LIMIT: Duration = Duration::from_secs(180);

/// What the storage nodes ask for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asks {
    Nothing,
    Tokens,
}

impl Asks {
    fn payment(self) -> &'static str {
        match self {
            Asks::Nothing => "none",
            Asks::Tokens => "credentials",
        }
    }
}

/// The scene. The malicious storage node is the last one.
pub(crate) struct Attacked {
    folder: TempDir,
    pub(crate) relay: RelayProcess,
    honest: Vec<Option<NodeProcess>>,
    pub(crate) malicious: Malicious,
    /// Every value by its name.
    pub(crate) stored: BTreeMap<String, Vec<u8>>,
    asks: Asks,
    restores: u32,
}

impl Attacked {
    /// With so many honest ones beside it. The malicious one has kept a copy of its store from before the last values.
    pub(crate) fn start(honest: usize, asks: Asks) -> Self {
        let (folder, relay) = (tempfile::tempdir().expect("a folder"), relay());
        let path = |name: &str| folder.path().join(name);
        let malicious = Malicious::start(&path("malicious"), &[relay.peer], asks.payment());
        let mut scene = Attacked {
            honest: Vec::new(),
            relay,
            malicious,
            stored: BTreeMap::new(),
            asks,
            restores: 0,
            folder,
        };
        for _ in 0..honest {
            scene.honest.push(None);
        }
        scene.start_honest();
        let mut init = larder(&scene.wallet());
        succeed(init.arg("init").args(scene.parties()));
        if asks == Asks::Tokens {
            for number in 1..=honest + 1 {
                let number = number.to_string();
                succeed(larder(&scene.wallet()).args(["buy", "16000", "--provider", &number]));
            }
        }
        scene.put("small", b"small");
        // Twenty blobs; what replaces them rolls the log up, and deletes them.
        scene.put("large", &random(320_000, 1));
        scene.malicious.order("snapshot");
        scene.put("large", &random(40_000, 2));
        scene.put("late", b"late");
        scene
    }

    fn start_honest(&mut self) {
        for (at, node) in self.honest.iter_mut().enumerate() {
            let folder = self.folder.path().join(format!("honest-{at}"));
            let mut command = larderd_command(&folder, &[self.relay.peer]);
            command
                .env("LARDERD_PAYMENT", self.asks.payment())
                .env("LARDERD_CREDENTIALS_TILL", "instant");
            node.get_or_insert_with(|| start(&mut command));
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn wallet(&self) -> PathBuf {
        self.path("wallet")
    }

    /// All storage nodes, the malicious one last, and the LSP.
    pub(crate) fn parties(&self) -> Vec<String> {
        let honest = self.honest.iter().flatten().map(|node| &node.address);
        let all = honest.chain([&self.malicious.address]);
        let mut parties = vec!["--lsp".to_owned(), self.relay.peer.to_string()];
        parties.extend(all.flat_map(|address| ["--provider".to_owned(), address.to_string()]));
        parties
    }

    pub(crate) fn put(&mut self, name: &str, content: &[u8]) -> Output {
        let file = self.path("file");
        fs::write(&file, content).expect("a file");
        let mut put = larder(&self.wallet());
        put.args(["--json", "put", name]).arg(file);
        let put = run_within(LIMIT, &mut put);
        if put.status.success() {
            self.stored.insert(name.to_owned(), content.to_vec());
        }
        put
    }

    /// Blobs that each honest storage node holds: they are ended for that, and started again.
    pub(crate) fn honest_blobs(&mut self) -> Vec<u64> {
        let nodes = self
            .honest
            .iter_mut()
            .map(|node| node.take().expect("running"));
        let blobs = nodes
            .map(|node| field(&node.process.terminate().1, "blobs"))
            .collect();
        self.start_honest();
        blobs
    }

    /// Everything is lost but the root key: a restore from these, of everything, into a folder of its own. Where the others
    /// were so fast that one was done without, and one of them lies, it is told so and does it again.
    pub(crate) fn restore(&mut self, parties: &[String], more: &[&str]) -> Restored {
        for _ in 0..8 {
            let restored = self.restore_once(parties, more);
            let error = restored.json["error"].as_str().unwrap_or_default();
            if !error.contains("the others did long before") {
                return restored;
            }
        }
        panic!("two honest storage nodes and none of them keeps up")
    }

    fn restore_once(&mut self, parties: &[String], more: &[&str]) -> Restored {
        self.restores += 1;
        let (wallet, to) = (
            self.path(&format!("restored-{}", self.restores)),
            self.path(&format!("files-{}", self.restores)),
        );
        let root = self.wallet().join("root.key");
        let mut restore = larder(&wallet);
        restore
            .args(["--json", "--timeout", "5", "restore", "--root-file"])
            .arg(root);
        restore.arg("--to").arg(&to).args(parties).args(more);
        let output = run_within(LIMIT, &mut restore);
        let json = serde_json::from_slice(&output.stdout);
        let restored = Restored {
            code: output.status.code().expect("it ended by itself"),
            json: json.unwrap_or_else(|_| panic!("one object: {output:?}")),
            is_whole: self.is_whole(&to),
        };
        assert!(
            restored.code != 0 || restored.is_whole,
            "a restore that lacks something says that it is done: {}",
            restored.json
        );
        restored
    }

    /// Whether all is there. Whatever is there is what was stored.
    fn is_whole(&self, to: &Path) -> bool {
        let names = match to.exists() {
            true => folder_names(to),
            false => Vec::new(),
        };
        for name in &names {
            let stored = self.stored.get(name);
            let stored = stored.unwrap_or_else(|| panic!("{name} was never stored"));
            let file = fs::read(to.join(name)).expect("a file");
            assert!(file == *stored, "{name} is not what was stored");
        }
        names.len() == self.stored.len()
    }

    /// That everything is still there, at every storage node, which is honest now: nothing of it was lost or deleted.
    pub(crate) fn is_unharmed(&mut self) {
        self.malicious.order("honest");
        let verified = json_of(&self.wallet(), &["receipts", "verify"]);
        for row in verified["providers"].as_array().expect("a list") {
            assert_eq!(
                (&row["missing"], &row["convictions"]),
                (&0.into(), &0.into()),
                "{verified}"
            );
        }
        let restored = self.restore(&self.parties(), &[]);
        assert_eq!(restored.code, 0, "{}", restored.json);
    }
}

/// What came of a restore.
pub(crate) struct Restored {
    pub(crate) code: i32,
    pub(crate) json: Value,
    /// Whether every file is there, byte for byte.
    pub(crate) is_whole: bool,
}

impl Restored {
    /// That it failed, with one of these words, and blames who is to blame.
    #[track_caller]
    pub(crate) fn blames(&self, code: i32, word: &str) {
        let error = self.json["error"]
            .as_str()
            .unwrap_or_else(|| panic!("{}", self.json));
        assert_eq!(self.code, code, "{error}");
        assert!(
            error.contains("storage node") && error.contains(word),
            "{error}"
        );
    }

    /// That it brought everything back; whether it names what is wrong with the third storage node.
    #[track_caller]
    pub(crate) fn is_whole_and_names_the_third(&self) -> bool {
        assert!(self.code == 0 && self.is_whole, "{}", self.json);
        self.json["warnings"].to_string().contains("storage node 3")
    }
}
