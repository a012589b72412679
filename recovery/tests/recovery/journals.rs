//! The journal in a folder: what a killed process, a flipped bit and a second process do to it.

use std::fs;
use std::path::Path;

use larder_recovery::{
    FolderJournal, Journal, JournalError, Looked, Purse, RecoveryError, Written,
};
use tempfile::TempDir;

use crate::paid::{INSERT, LOOKUP, PaidShelf, open, pair, tokens};
use crate::shelf::{keypair, root};

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn entries(folder: &Path) -> Result<Vec<Vec<u8>>, JournalError> {
    let entries = FolderJournal::open(folder)?.entries()?;
    Ok(entries.into_iter().map(|entry| entry.to_vec()).collect())
}

/// A folder with these entries, and the bytes of its journal.
fn written(entries: &[Vec<u8>]) -> (TempDir, Vec<u8>) {
    let folder = folder();
    let mut journal = FolderJournal::open(folder.path()).expect("a new journal");
    journal.entries().expect("a new journal");
    for entry in entries {
        journal.append(entry).expect("room on the disk");
    }
    drop(journal);
    let bytes = fs::read(folder.path().join("purse")).expect("it is there");
    (folder, bytes)
}

fn some_entries() -> Vec<Vec<u8>> {
    [5, 0, 40, 1, 17].map(|len| vec![len; len.into()]).to_vec()
}

#[test]
fn what_was_appended_is_there_again_and_so_is_what_replaced_it() {
    let (folder, _) = written(&some_entries());
    let mut journal = FolderJournal::open(folder.path()).expect("it is there");
    let read = journal.entries().expect("it is sound");
    assert!(read.iter().map(|e| e.to_vec()).eq(some_entries()));
    journal.replace(&read[2..]).expect("room on the disk");
    journal.append(b"after").expect("room on the disk");
    drop(journal);
    let mut expected = some_entries()[2..].to_vec();
    expected.push(b"after".to_vec());
    assert_eq!(entries(folder.path()), Ok(expected));
}

#[test]
fn a_journal_that_was_cut_at_any_byte_has_all_entries_that_were_complete() {
    let all = some_entries();
    let (folder, bytes) = written(&all);
    let mut ends = vec![8];
    for entry in &all {
        ends.push(ends[ends.len() - 1] + 24 + entry.len());
    }
    assert_eq!(ends.last(), Some(&bytes.len()));
    for cut in 8..=bytes.len() {
        fs::write(folder.path().join("purse"), &bytes[..cut]).expect("room on the disk");
        let complete = ends.iter().filter(|&&end| end <= cut).count() - 1;
        let mut journal = FolderJournal::open(folder.path()).expect("it opens");
        let read = journal.entries().expect("a torn end is no damage");
        assert_eq!(read.len(), complete, "{cut}");
        // And it goes on from there.
        journal.append(b"next").expect("room on the disk");
        drop(journal);
        let mut expected = all[..complete].to_vec();
        expected.push(b"next".to_vec());
        assert_eq!(entries(folder.path()), Ok(expected), "{cut}");
    }
    // Zeros in place of what a power cut kept from being written are a torn end too.
    fs::write(
        folder.path().join("purse"),
        [&bytes[..], &[0; 100]].concat(),
    )
    .expect("room");
    assert_eq!(entries(folder.path()), Ok(all));
}

#[test]
fn a_flipped_bit_is_found_or_takes_the_last_entry_only() {
    let all = some_entries();
    let (folder, bytes) = written(&all);
    let mut found = 0;
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            fs::write(folder.path().join("purse"), &flipped).expect("room on the disk");
            match entries(folder.path()) {
                Ok(read) => assert_eq!(read, all[..all.len() - 1], "{at}"),
                Err(JournalError::Damaged { .. }) => found += 1,
                Err(other) => panic!("{at}: {other}"),
            }
        }
    }
    // All but the checks and the contents of the last one.
    assert_eq!(found, 8 * (bytes.len() - 16 - 17));
}

#[test]
fn a_rewrite_that_was_cut_short_leaves_the_old_journal() {
    let (folder, bytes) = written(&some_entries());
    fs::write(folder.path().join("purse.new"), &bytes[..20]).expect("room on the disk");
    assert_eq!(entries(folder.path()), Ok(some_entries()));
    assert!(!folder.path().join("purse.new").exists());
}

#[test]
fn a_rewrite_that_finds_no_room_leaves_a_journal_that_goes_on() {
    let (folder, _) = written(&some_entries());
    let mut journal = FolderJournal::open(folder.path()).expect("it is there");
    let read = journal.entries().expect("it is sound");
    // A folder in its way fails it as a full disk would.
    let new = folder.path().join("purse.new");
    fs::create_dir(&new).expect("room on the disk");
    assert!(matches!(
        journal.replace(&read[2..]),
        Err(JournalError::Io(_))
    ));
    journal.append(b"after").expect("the old one goes on");
    drop(journal);
    fs::remove_dir(new).expect("it is there");
    let mut expected = some_entries();
    expected.push(b"after".to_vec());
    assert_eq!(entries(folder.path()), Ok(expected));
}

#[test]
fn a_journal_makes_the_folders_that_it_lies_in() {
    let folder = folder();
    let deep = folder.path().join("a/b/c");
    FolderJournal::open(&deep).expect("a new journal");
    assert!(deep.join("purse").exists());
}

#[test]
fn one_process_at_a_time_has_a_journal_open() {
    let folder = folder();
    let first = FolderJournal::open(folder.path()).expect("a new journal");
    let second = FolderJournal::open(folder.path()).map(drop);
    assert_eq!(second, Err(JournalError::InUse));
    drop(first);
    assert!(FolderJournal::open(folder.path()).is_ok());
}

#[cfg(unix)]
#[test]
fn nobody_but_its_owner_reads_a_journal() {
    use std::os::unix::fs::PermissionsExt;
    let (folder, _) = written(&some_entries());
    let file = fs::metadata(folder.path().join("purse")).expect("it is there");
    assert_eq!(file.permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_purse_in_a_folder_goes_on_and_does_not_grow_for_ever() {
    let (shelf, folder) = (PaidShelf::new(), folder());
    let journal = || FolderJournal::open(folder.path()).expect("nobody else has it");
    let provider = open(&shelf, journal(), 1).await.expect("honest");
    let means = larder_recovery::Means::Voucher(shelf.voucher(1, 500));
    provider.buy(500, means).await.expect("a good voucher");
    let (key, blob) = pair(1);
    let mut largest = 0;
    for _ in 0..90 {
        provider.insert(key, blob.clone()).await.expect("enough");
        let len = fs::metadata(folder.path().join("purse")).map(|file| file.len());
        largest = largest.max(len.expect("it is there"));
    }
    // Each of them wrote 18 KB.
    assert!((1_000_000..1_100_000).contains(&largest), "{largest}");
    let held = 500 - INSERT - 89 * LOOKUP;
    assert_eq!(tokens(&provider), held);
    drop(provider);
    let provider = open(&shelf, journal(), 2).await.expect("honest");
    assert_eq!(tokens(&provider), held);
    assert_eq!(provider.lookup(key).await, Ok(Looked::Found(blob)));
    assert_eq!(shelf.outstanding(), held - LOOKUP);
}

/// A journal whose disk is full after so many entries.
struct Full<J>(J, u32);

impl<J: Journal> Journal for Full<J> {
    fn entries(&mut self) -> Result<Vec<larder_recovery::Entry>, JournalError> {
        self.0.entries()
    }

    fn append(&mut self, entry: &[u8]) -> Result<(), JournalError> {
        let full = || JournalError::Io("the disk is full".to_owned());
        self.1 = self.1.checked_sub(1).ok_or_else(full)?;
        self.0.append(entry)
    }

    fn replace(&mut self, entries: &[larder_recovery::Entry]) -> Result<(), JournalError> {
        self.0.replace(entries)
    }
}

#[tokio::test]
async fn what_cannot_be_written_down_is_not_sent() {
    let shelf = PaidShelf::new();
    let (_, journal) = crate::paid::funded(&shelf, 50).await;
    let provider = open(&shelf, Full(journal.clone(), 0), 2)
        .await
        .expect("honest");
    let arrived = shelf.log().len();
    let written = provider.insert(pair(1).0, pair(1).1).await;
    assert!(matches!(
        written,
        Err(RecoveryError::Journal(JournalError::Io(_)))
    ));
    assert_eq!(shelf.log().len(), arrived);
    // Nor does an answer count that cannot be: the same request brings it again.
    drop(provider);
    let provider = open(&shelf, Full(journal.clone(), 1), 2)
        .await
        .expect("honest");
    let written = provider.insert(pair(1).0, pair(1).1).await;
    assert!(matches!(
        written,
        Err(RecoveryError::Journal(JournalError::Io(_)))
    ));
    assert_eq!(tokens(&provider), 50);
    drop(provider);
    let provider = open(&shelf, journal, 2).await.expect("honest");
    let written = provider.insert(pair(1).0, pair(1).1).await;
    assert_eq!(written, Ok(Written::New));
    assert_eq!(
        (tokens(&provider), shelf.outstanding()),
        (50 - INSERT, 50 - INSERT)
    );
}

/// A journal that fails one append, which it has made durable all the same.
struct Hiccup<J>(J, u32);

impl<J: Journal> Journal for Hiccup<J> {
    fn entries(&mut self) -> Result<Vec<larder_recovery::Entry>, JournalError> {
        self.0.entries()
    }

    fn append(&mut self, entry: &[u8]) -> Result<(), JournalError> {
        self.0.append(entry)?;
        self.1 = self.1.wrapping_sub(1);
        match self.1 {
            0 => Err(JournalError::Io("the disk has a hiccup".to_owned())),
            _ => Ok(()),
        }
    }

    fn replace(&mut self, entries: &[larder_recovery::Entry]) -> Result<(), JournalError> {
        self.0.replace(entries)
    }
}

#[tokio::test]
async fn a_purse_that_could_not_write_writes_no_more_until_it_is_opened_again() {
    let shelf = PaidShelf::new();
    let (_, journal) = crate::paid::funded(&shelf, 100).await;
    for step in 1..=2 {
        let hiccup = Hiccup(journal.clone(), step);
        let provider = open(&shelf, hiccup, 2).await.expect("honest");
        let n = step as u8;
        assert!(provider.insert(pair(n).0, pair(n).1).await.is_err());
        let (arrived, written) = (shelf.log().len(), journal.clone().entries());
        for _ in 0..2 {
            let looked = provider.lookup(pair(9).0).await;
            assert!(matches!(
                looked,
                Err(RecoveryError::Journal(JournalError::Io(_)))
            ));
        }
        assert_eq!(shelf.log().len(), arrived);
        assert_eq!(journal.clone().entries(), written);
        drop(provider);
        let provider = open(&shelf, journal.clone(), 2).await.expect("honest");
        provider.upkeep(1_000).await.expect("honest");
        assert_eq!(tokens(&provider), shelf.outstanding());
    }
}

#[tokio::test]
async fn the_purse_of_another_storage_node_is_refused_and_stays_as_it_is() {
    let shelf = PaidShelf::new();
    let other = larder_protocol::ServerKey::from(keypair(2).public_key());
    let journal = larder_recovery::MemoryJournal::new();
    let purse = Purse::open(&root(1), &other, journal.clone()).expect("a new one");
    let transport = std::sync::Arc::new(shelf.clone());
    let provider = larder_recovery::Provider::connect(shelf.address(), transport).await;
    let provider = provider.expect("honest").with_purse(purse).map(drop);
    assert_eq!(provider, Err(RecoveryError::Journal(JournalError::Foreign)));
    assert!(Purse::open(&root(1), &other, journal).is_ok());
}

#[test]
fn entries_that_no_purse_wrote_are_damage() {
    let shelf = PaidShelf::new();
    let server = *shelf.address().server_key();
    for entry in [vec![], vec![0], vec![99, 1, 2], vec![5; 60]] {
        let (folder, _) = written(&[entry]);
        let journal = FolderJournal::open(folder.path()).expect("the file is sound");
        let purse = Purse::open(&root(1), &server, journal);
        assert_eq!(purse.err(), Some(JournalError::Damaged { at: 0 }));
    }
}
