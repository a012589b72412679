//! Somebody at a command line: every command is the real `larder`, in a folder of its own.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use serde_json::Value;
use tokio::time::{Instant, sleep, sleep_until};

use super::world::{Failure, Kind, Scene, pause};

/// Tokens of a purchase.
const TOKENS: &str = "16000";

/// Commands come so far apart in the mean, of an epoch. An epoch is a week by default: one or two a day.
const COMMANDS: u32 = 10;

/// `larder upkeep` runs so often in an epoch: once a day.
const UPKEEPS: u32 = 7;

struct Shell<'s> {
    scene: &'s Scene,
    wallet: usize,
    kind: Kind,
    rng: StdRng,
    folder: PathBuf,
    words: PathBuf,
}

/// Lives to the end of the world.
pub(crate) async fn live(
    scene: &Scene,
    wallet: usize,
    kind: Kind,
    rng: StdRng,
) -> Result<(), Failure> {
    let folder = scene.folder.path().join(format!("wallet-{wallet}"));
    let mut shell = Shell {
        scene,
        wallet,
        kind,
        rng,
        words: folder.with_extension("words"),
        folder,
    };
    shell.live().await
}

impl Shell<'_> {
    async fn live(&mut self) -> Result<(), Failure> {
        let epoch = self.scene.epoch;
        sleep(epoch.mul_f64(self.rng.random_range(0.0..0.25))).await;
        let (provider, lsp) = self.addresses();
        let made = self
            .run(&["init", "--provider", &provider, "--lsp", &lsp])
            .await;
        let words = made["words"].as_str().unwrap_or_default().to_owned();
        std::fs::write(&self.words, words)?;
        self.run(&["buy", TOKENS]).await;
        let mut upkeep = Instant::now() + pause(&mut self.rng, epoch / UPKEEPS);
        let loss = self.scene.started + self.scene.end.mul_f64(0.6);
        let mut lost = false;
        while !self.scene.is_over() {
            let command = Instant::now() + pause(&mut self.rng, epoch / COMMANDS);
            sleep_until(command.min(upkeep)).await;
            if Instant::now() >= upkeep {
                upkeep =
                    Instant::now() + (epoch / UPKEEPS).mul_f64(self.rng.random_range(0.8..1.2));
                self.run(&["upkeep"]).await;
                continue;
            }
            if self.kind == Kind::Lost && !lost && Instant::now() >= loss {
                lost = true;
                self.restore().await?;
                continue;
            }
            self.something().await?;
        }
        Ok(())
    }

    fn addresses(&self) -> (String, String) {
        let lsp = self.scene.paths.lsp_of(self.wallet);
        (self.scene.address.to_string(), lsp.to_string())
    }

    async fn restore(&mut self) -> Result<(), Failure> {
        std::fs::remove_dir_all(&self.folder)?;
        let (provider, lsp) = self.addresses();
        let to = self.folder.with_extension("restored");
        let (words, to) = (self.words.clone(), to);
        let command = [
            "restore",
            "--words",
            text(&words),
            "--provider",
            &provider,
            "--lsp",
            &lsp,
            "--to",
            text(&to),
        ];
        self.run(&command).await;
        Ok(())
    }

    async fn something(&mut self) -> Result<(), Failure> {
        let value = self.folder.with_extension("value");
        let name = match self.kind {
            Kind::Backup => "backup".to_owned(),
            _ => format!("note-{}", self.rng.random_range(0..6)),
        };
        match (self.kind, self.rng.random_range(0..100)) {
            (Kind::Backup, 0..60) => {
                let len = self.rng.random_range(60_000..250_000);
                self.put(&name, &value, len).await?;
            }
            (_, 0..45) => {
                let len = self.rng.random_range(10..3_000);
                self.put(&name, &value, len).await?;
            }
            // Reading what was never stored is no failure of anybody's.
            (_, 45..65) => {
                self.try_to(&["get", &name, "-o", text(&value)]).await;
            }
            (Kind::Shell | Kind::Lost, 65..72) => {
                self.try_to(&["delete", &name]).await;
            }
            (_, 72..80) => {
                self.run(&["log"]).await;
            }
            _ => {
                self.run(&["list"]).await;
            }
        }
        Ok(())
    }

    async fn put(&mut self, name: &str, value: &Path, len: usize) -> Result<(), Failure> {
        let mut bytes = vec![0; len];
        self.rng.fill(&mut bytes[..]);
        std::fs::write(value, bytes)?;
        let done = self.try_to(&["put", name, text(value)]).await;
        // Out of tokens: as a user would.
        if done["exit_code"] == 3 {
            self.run(&["buy", TOKENS]).await;
            self.run(&["put", name, text(value)]).await;
        } else {
            self.judge(&["put"], &done);
        }
        Ok(())
    }

    /// Runs a command that should do what it says.
    async fn run(&mut self, words: &[&str]) -> Value {
        let said = self.try_to(words).await;
        self.judge(words, &said);
        said
    }

    fn judge(&self, words: &[&str], said: &Value) {
        if said["exit_code"].as_u64().is_some_and(|code| code != 0) {
            let (what, why) = (words[0], &said["error"]);
            self.scene.fails(self.wallet, &format!("{what}: {why}"));
        }
    }

    /// Runs one that may end otherwise.
    async fn try_to(&mut self, words: &[&str]) -> Value {
        let command = self.scene.paths.next_command(self.wallet);
        if words[0] == "restore" {
            self.scene.restored(self.wallet, command);
        }
        let args = ["larder", "--json", "--wallet", text(&self.folder)];
        let args = args.iter().chain(words).map(OsString::from);
        let ran = larder_cli::bench::run(args).await;
        // People look at what they see.
        sleep(Duration::from_millis(self.rng.random_range(300..2_000))).await;
        serde_json::from_str(&ran.said).unwrap_or_else(
            |_| serde_json::json!({ "exit_code": ran.exit_code, "error": ran.said }),
        )
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}
