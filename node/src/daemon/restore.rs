//! `larderd restore`: the one way to take a store from a backup into use.
//!
//! What was spent after the backup was made, the store does not know; taken as it is, it would
//! let all of that be spent again. So the node enters an epoch that is later than any it can have
//! been in, and closes all earlier ones for good (`credentials.md` §7).
//!
//! Doing it twice enters yet another epoch, which costs clients what they bought in between and
//! is safe otherwise: a crash in the middle is mended by doing it again.

use std::sync::Arc;

use larder_store::{Change, Effect};

use crate::believed::{DAY, could_be};
use crate::clock::{Clock, utc};
use crate::desk::believed;
use crate::folder::{Missing, open_folder};
use crate::succession::Succession;
use crate::{Config, NodeError, published};

/// How old a backup is taken for at most; what is older, the operator has to vouch for.
const OLDEST: u64 = 10 * 365 * DAY;

/// Restores, and says what that means.
pub(super) fn restore(config: &Config, clock: Arc<dyn Clock>) -> Result<String, NodeError> {
    // A new seed would be another node: the backup has to bring its own.
    let (engine, identity) = open_folder(config, Missing::Nothing)?;
    let says = clock.now();
    could_be(says)?;
    let clock = Arc::new(believed(&*engine, clock, OLDEST)?);
    // However old the backup is, it is not from the future; and the new epoch's number is the time.
    if clock.is_in_doubt() {
        return Err(NodeError::Clock(format!(
            "it says {}, and the store, which is no older than ten years, remembers {}",
            utc(says),
            utc(clock.now())
        )));
    }
    let succession = Succession {
        engine,
        identity,
        offer: Some(config.offer.clone()),
        breakglass_seconds: config.breakglass.seconds,
        clock,
        passed: published::entered(&published::path(&config.data_dir))?,
    };
    let terms = succession.close_all(&config.offer)?;
    let now = succession.clock.now();
    (succession.engine).commit(vec![Effect::unpaid(Change::NoteTime { now, doubt: None })])?;
    Ok(format!(
        "restored: this is epoch {}, and all earlier ones are closed\n\
         What clients stored up to the backup is there; what they stored after it is gone, and\n\
         what they deleted after it is there again.\n\
         All tokens are void, and clients have to buy new ones. Vouchers and payments that were\n\
         used after the backup was made can be used once more, until they expire.\n\
         Start the node as usual. Running this again would void the tokens bought since.\n",
        terms.epoch
    ))
}

#[cfg(test)]
mod tests {
    use larder_credentials::Epoch;
    use larder_credentials::ledger::Floor;
    use larder_protocol::SignedRecord;
    use larder_store::{Engine, Epochs};

    use super::*;
    use crate::clock::test::At;
    use crate::desk::{Desk, Sale};
    use crate::folder::tests::{sold_before_owners_were_noted, write_seed};
    use crate::till::Giveaway;

    fn config(folder: &std::path::Path) -> Config {
        let mut config = Config::load(None, Some(folder), []).unwrap();
        config.free_space_floor = 0;
        config
    }

    fn epochs(config: &Config) -> Epochs {
        let (engine, _) = open_folder(config, Missing::Nothing).unwrap();
        engine.epochs().unwrap().unwrap()
    }

    /// The epochs whose records the present one names.
    fn named(config: &Config) -> Vec<u32> {
        let signed = SignedRecord::decode(&epochs(config).terms).unwrap();
        let (_, identity) = open_folder(config, Missing::Nothing).unwrap();
        let record = signed.verified(&identity.server_key()).unwrap();
        let earlier = record.tariff.iter().flat_map(|tariff| &tariff.earlier);
        earlier.map(|earlier| earlier.epoch).collect()
    }

    fn closed(epoch: u32) -> Floor {
        let (oldest, current) = (Epoch(epoch), Epoch(epoch));
        Floor { oldest, current }
    }

    #[test]
    fn a_restored_store_goes_on_later_than_any_epoch_before_and_closes_those_for_good() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        let clock = Arc::new(At(1_800_000_000));
        let open = || {
            let (engine, identity) = open_folder(&config, Missing::Both).unwrap();
            let (offer, till) = (config.offer.clone(), Arc::new(Giveaway));
            let sale = Sale { offer, till };
            let breakglass = config.breakglass;
            Desk::open(engine, identity, Some(sale), breakglass, clock.clone()).unwrap()
        };
        open().enter_next_epoch().unwrap();
        assert_eq!(epochs(&config).floor.current, Epoch(1_800_000_001));

        let later = At(1_800_000_060);
        let told = restore(&config, Arc::new(later)).unwrap();
        assert!(told.contains("epoch 1800000060"), "{told}");
        assert_eq!(epochs(&config).floor, closed(1_800_000_060));
        // Again within the same second, or with a clock that was set back a little.
        for (now, epoch) in [
            (1_800_000_060, 1_800_000_062),
            (1_799_990_000, 1_800_000_064),
        ] {
            restore(&config, Arc::new(At(now))).unwrap();
            assert_eq!(epochs(&config).floor, closed(epoch));
            // What was signed since a backup is unknown.
            assert!(named(&config).is_empty());
        }
        // One that was set back far would give the epoch a time that is long over.
        // One that runs far ahead would leave hardly any number for those that follow.
        for now in [5, 1_790_000_000, 3_480_000_000, 4_400_000_000, u64::MAX] {
            let refused = restore(&config, Arc::new(At(now)));
            assert!(matches!(refused, Err(NodeError::Clock(_))), "{now}");
            assert_eq!(epochs(&config).floor, closed(1_800_000_064));
        }
        let ten_years_on = 1_800_000_000 + OLDEST + 2 * DAY;
        let refused = restore(&config, Arc::new(At(ten_years_on)));
        assert!(matches!(refused, Err(NodeError::Clock(_))));
        // The node goes on from there, and what is closed stays so.
        open().enter_next_epoch().unwrap();
        let floor = epochs(&config).floor;
        assert_eq!(
            (floor.oldest.0, floor.current.0),
            (1_800_000_064, 1_800_000_065)
        );
        assert_eq!(named(&config), [1_800_000_064]);
    }

    #[test]
    fn a_store_without_any_epoch_is_restored_too_and_one_without_its_seed_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        let clock = Arc::new(At(1_800_000_000));
        let without = restore(&config, clock.clone());
        assert!(matches!(
            without,
            Err(NodeError::File { doing: "read", .. })
        ));
        drop(open_folder(&config, Missing::Both).unwrap());
        let too_far_ahead = restore(&config, Arc::new(At(4_400_000_000)));
        assert!(matches!(too_far_ahead, Err(NodeError::Clock(_))));
        restore(&config, clock).unwrap();
        assert_eq!(epochs(&config).floor, closed(1_800_000_000));
    }

    #[test]
    fn a_backup_is_not_restored_to_an_epoch_before_the_one_that_was_published() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        drop(open_folder(&config, Missing::Both).unwrap());
        // By a clock that ran ahead, after the backup was made.
        let terms = folder.path().join("terms");
        std::fs::write(&terms, [0xff; 70]).unwrap();
        let refused = restore(&config, Arc::new(At(1_800_000_000))).unwrap_err();
        assert!(
            refused.to_string().contains("terms: it is damaged"),
            "{refused}"
        );
        let line = format!("2000000000 {}\n", "ab".repeat(32));
        std::fs::write(&terms, line).unwrap();
        restore(&config, Arc::new(At(1_800_000_000))).unwrap();
        assert_eq!(epochs(&config).floor, closed(2_000_000_002));
    }

    #[test]
    fn a_seed_that_did_not_sign_the_terms_of_a_store_neither_restores_it_nor_becomes_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        sold_before_owners_were_noted(&config, [1; 32]);
        write_seed(&config, [2; 32]);
        let refused = restore(&config, Arc::new(At(1_800_000_100)));
        assert!(matches!(refused, Err(NodeError::ForeignSeed { .. })));
        write_seed(&config, [1; 32]);
        assert_eq!(epochs(&config).floor, closed(1_800_000_000));
        restore(&config, Arc::new(At(1_800_000_100))).unwrap();
        assert_eq!(epochs(&config).floor, closed(1_800_000_100));
    }

    #[test]
    fn a_store_that_a_node_is_running_on_is_not_restored() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        let running = open_folder(&config, Missing::Both).unwrap();
        let refused = restore(&config, Arc::new(At(1_800_000_000)));
        assert!(matches!(refused, Err(NodeError::Store(_))));
        drop(running);
    }
}
