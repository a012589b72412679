//! `larderd address`: what clients need to find this node, and to compare the terms that they are shown. Needs the seed
//! and no store, so it works beside a running node.

use larder_protocol::{Address, ServerKey};

use crate::identity::Identity;
use crate::{Config, NodeError, published};

/// The address, and the terms of the epoch that the node was in when it last ran.
pub(super) fn address(config: &Config) -> Result<String, NodeError> {
    let identity = Identity::load(&config.seed_path())?;
    let mut server = identity.server_keypair();
    let server_key = ServerKey::from(server.public_key());
    server.non_secure_erase();
    let introductions = config.lsps.iter().map(|lsp| lsp.node_id).collect();
    let address = Address::new(server_key, identity.node_id(), introductions);
    let terms = match published::read(&published::path(&config.data_dir))? {
        Some((epoch, hash)) => format!("epoch    {epoch}\nterms    {hash}\n"),
        None => "terms    none: this node has not run yet\n".to_owned(),
    };
    Ok(format!("address  {address}\n{terms}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Node;

    #[tokio::test(flavor = "multi_thread")]
    async fn it_says_the_address_and_the_hash_of_the_terms_that_clients_are_shown() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::load(None, Some(folder.path()), []).unwrap();
        config.free_space_floor = 0;
        assert!(address(&config).is_err());
        let node = Node::start(&config).await.unwrap();
        for _ in 0..2 {
            let record = node.desk().record();
            let record = record.verified(&node.desk().server_key()).unwrap().clone();
            let hash = hex::encode(record.hash().0);
            let said = format!(
                "address  {}\nepoch    {}\nterms    {hash}\n",
                node.address(),
                record.epoch
            );
            // It is written on another thread when an epoch is entered.
            while address(&config).unwrap() != said {
                tokio::task::yield_now().await;
            }
            node.enter_next_epoch().await.unwrap();
        }
    }
}
