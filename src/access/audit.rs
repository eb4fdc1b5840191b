//! Who did what: the entries of the audit, and the chain that ties each to all before it.
//!
//! It keeps nothing (that is `store`). The chain is keyed: an attacker who can write the database and does not
//! have its key can neither change an entry nor make a new chain over changed ones. Invariant: an
//! entry's hash covers every field of it and the hash before it.

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use sha2::Sha256;

use super::{Actor, Role};

/// What was done, before it has its place in the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    pub at: Timestamp,
    pub actor: Actor,
    /// The address that it was asked from, where that is known.
    pub source: Option<String>,
    /// Such as `server.add`.
    pub action: String,
    pub server: Option<String>,
    pub job: Option<String>,
    /// JSON; never a secret.
    pub detail: serde_json::Value,
}

impl Act {
    pub fn on_server(self, server: impl ToString) -> Act {
        Act { server: Some(server.to_string()), ..self }
    }

    pub fn on_job(self, job: impl ToString) -> Act {
        Act { job: Some(job.to_string()), ..self }
    }

    pub fn with(self, detail: serde_json::Value) -> Act {
        Act { detail, ..self }
    }
}

/// An entry as it is kept: texts, so that what is checked is what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// From 1, without a gap.
    pub seq: u64,
    pub at: Timestamp,
    pub actor: String,
    pub actor_name: String,
    pub role: String,
    pub source: Option<String>,
    pub action: String,
    pub server: Option<String>,
    pub job: Option<String>,
    pub detail: String,
    pub hash: [u8; 32],
}

/// Ties the entries of one database together.
#[derive(Clone)]
pub struct ChainKey([u8; 32]);

impl ChainKey {
    pub fn new(key: [u8; 32]) -> ChainKey {
        ChainKey(key)
    }

    /// The entry that follows the one with the number `last` and that hash.
    pub fn entry(&self, act: Act, last: u64, previous: &[u8; 32]) -> Entry {
        let Actor { id, name, role, expires_at: _ }: Actor = act.actor;
        let mut entry = Entry {
            seq: last + 1,
            at: act.at,
            actor: id,
            actor_name: name,
            role: Role::name(role).to_owned(),
            source: act.source,
            action: act.action,
            server: act.server,
            job: act.job,
            detail: act.detail.to_string(),
            hash: [0; 32],
        };
        entry.hash = self.hash(&entry, previous);
        entry
    }

    /// The seal of the chain's end: without it, the last entries could be taken away unseen.
    pub fn end(&self, seq: u64, hash: &[u8; 32]) -> [u8; 32] {
        self.code(&[Some(b"end"), Some(&seq.to_be_bytes()), Some(hash)])
    }

    /// The seal of a chain's start: the entry before it, which is kept elsewhere.
    pub fn start(&self, seq: u64, hash: &[u8; 32]) -> ChainStart {
        let seal = self.code(&[Some(b"start"), Some(&seq.to_be_bytes()), Some(hash)]);
        ChainStart { seq, hash: *hash, seal }
    }

    fn hash(&self, entry: &Entry, previous: &[u8; 32]) -> [u8; 32] {
        fn text(text: &Option<String>) -> Option<&[u8]> {
            text.as_ref().map(String::as_bytes)
        }
        self.code(&[
            Some(previous),
            Some(&entry.seq.to_be_bytes()),
            Some(&entry.at.as_millisecond().to_be_bytes()),
            Some(entry.actor.as_bytes()),
            Some(entry.actor_name.as_bytes()),
            Some(entry.role.as_bytes()),
            text(&entry.source),
            Some(entry.action.as_bytes()),
            text(&entry.server),
            text(&entry.job),
            Some(entry.detail.as_bytes()),
        ])
    }

    /// HMAC-SHA-256 over the parts, each with its length; a missing part differs from an empty one.
    fn code(&self, parts: &[Option<&[u8]>]) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        for part in parts {
            let length = part.map_or(u64::MAX, |part| part.len() as u64);
            mac.update(&length.to_be_bytes());
            mac.update(part.unwrap_or_default());
        }
        mac.finalize().into_bytes().into()
    }
}

/// The entry that the kept part of a chain follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainStart {
    pub seq: u64,
    pub hash: [u8; 32],
    pub seal: [u8; 32],
}

/// What is wrong with a chain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainFault {
    #[error("the seal of the chain's start was changed")]
    Start,
    #[error("entry {expected} is missing: {found} follows instead")]
    Missing { expected: u64, found: u64 },
    #[error("entry {seq} was changed, or one before it was")]
    Changed { seq: u64 },
    #[error("entries after {last} are missing, or the seal of the chain's end was changed")]
    End { last: u64 },
}

/// Goes through a chain from its first entry.
pub struct ChainCheck {
    key: ChainKey,
    first: u64,
    last: u64,
    previous: [u8; 32],
}

impl ChainCheck {
    pub fn new(key: ChainKey) -> ChainCheck {
        ChainCheck { key, first: 1, last: 0, previous: [0; 32] }
    }

    /// Goes on after the entry that `start` seals.
    pub fn begin(&mut self, start: &ChainStart) -> Result<(), ChainFault> {
        if self.key.start(start.seq, &start.hash) != *start {
            return Err(ChainFault::Start);
        }
        (self.first, self.last, self.previous) = (start.seq + 1, start.seq, start.hash);
        Ok(())
    }

    /// The number of the first entry.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// The number of the last entry that was found good.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// The hash of that entry.
    pub fn last_hash(&self) -> [u8; 32] {
        self.previous
    }

    pub fn next(&mut self, entry: &Entry) -> Result<(), ChainFault> {
        if entry.seq != self.last + 1 {
            return Err(ChainFault::Missing { expected: self.last + 1, found: entry.seq });
        }
        if self.key.hash(entry, &self.previous) != entry.hash {
            return Err(ChainFault::Changed { seq: entry.seq });
        }
        (self.last, self.previous) = (entry.seq, entry.hash);
        Ok(())
    }

    /// Whether the chain ends where its seal says; a chain without entries has none.
    pub fn finish(&self, end: Option<[u8; 32]>) -> Result<(), ChainFault> {
        let expected = (self.last > 0).then(|| self.key.end(self.last, &self.previous));
        if end == expected { Ok(()) } else { Err(ChainFault::End { last: self.last }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(length: u64) -> (ChainKey, Vec<Entry>, Option<[u8; 32]>) {
        let key = ChainKey::new([1; 32]);
        let (mut entries, mut previous) = (Vec::new(), [0; 32]);
        for last in 0..length {
            let act = Act {
                at: Timestamp::from_second(last as i64).unwrap(),
                actor: Actor::anybody(),
                source: None,
                action: "server.add".to_owned(),
                server: Some("A1".to_owned()),
                job: None,
                detail: serde_json::json!({ "number": last }),
            };
            let entry = key.entry(act, last, &previous);
            previous = entry.hash;
            entries.push(entry);
        }
        let end = entries.last().map(|entry| key.end(entry.seq, &entry.hash));
        (key, entries, end)
    }

    fn check(key: &ChainKey, entries: &[Entry], end: Option<[u8; 32]>) -> Result<(), ChainFault> {
        let mut check = ChainCheck::new(key.clone());
        entries.iter().try_for_each(|entry| check.next(entry))?;
        check.finish(end)
    }

    #[test]
    fn a_whole_chain_is_good_and_so_is_none() {
        for length in [0, 1, 5] {
            let (key, entries, end) = chain(length);
            assert_eq!(check(&key, &entries, end), Ok(()));
        }
    }

    #[test]
    fn every_changed_field_is_found() {
        let (key, entries, end) = chain(3);
        let changes: [fn(&mut Entry); 10] = [
            |entry| entry.at = Timestamp::from_second(99).unwrap(),
            |entry| entry.actor = "token:other".to_owned(),
            |entry| entry.actor_name = "other".to_owned(),
            |entry| entry.role = "viewer".to_owned(),
            |entry| entry.source = Some(String::new()),
            |entry| entry.action = "server.remove".to_owned(),
            |entry| entry.server = None,
            |entry| entry.job = Some("x".to_owned()),
            |entry| entry.detail = "{}".to_owned(),
            |entry| entry.hash[31] ^= 1,
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let mut changed = entries.clone();
            change(&mut changed[1]);
            assert_eq!(check(&key, &changed, end), Err(ChainFault::Changed { seq: 2 }), "change {number}");
        }
    }

    #[test]
    fn what_was_removed_reordered_or_cut_off_is_found() {
        let (key, entries, end) = chain(4);
        for removed in 0..3 {
            let mut rest = entries.clone();
            rest.remove(removed);
            let expected = removed as u64 + 1;
            assert_eq!(check(&key, &rest, end), Err(ChainFault::Missing { expected, found: expected + 1 }));
        }
        let mut renumbered = entries.clone();
        renumbered.remove(1);
        renumbered.iter_mut().zip(1..).for_each(|(entry, seq)| entry.seq = seq);
        assert_eq!(check(&key, &renumbered, end), Err(ChainFault::Changed { seq: 2 }));
        let mut swapped = entries.clone();
        swapped.swap(1, 2);
        assert!(check(&key, &swapped, end).is_err());
        assert_eq!(check(&key, &entries[..3], end), Err(ChainFault::End { last: 3 }));
        assert_eq!(check(&key, &entries[..0], end), Err(ChainFault::End { last: 0 }));
        assert_eq!(check(&key, &entries, None), Err(ChainFault::End { last: 4 }));
    }

    #[test]
    fn a_chain_that_was_made_anew_without_the_key_is_found() {
        let (key, _, _) = chain(0);
        let (_, mut entries, _) = chain(3);
        let other = ChainKey::new([2; 32]);
        let mut previous = [0; 32];
        for entry in &mut entries {
            entry.hash = other.hash(entry, &previous);
            previous = entry.hash;
        }
        assert_eq!(check(&key, &entries, None), Err(ChainFault::Changed { seq: 1 }));
    }
}
