//! The fields of an [event](super::event), one after the other: integers big-endian, a list behind its length
//! in one byte, and what may be of any length at the end.

use larder_credentials::CREDENTIAL_BYTES;

use super::held::Held;

/// Appends a code and what belongs to it.
pub(super) fn put(to: &mut Vec<u8>, code: u8, fields: &[&[u8]]) {
    to.push(code);
    fields.iter().for_each(|field| to.extend_from_slice(field));
}

/// No more of them than [`Event::IDS`](super::event::Event::IDS).
pub(super) fn put_ids(to: &mut Vec<u8>, ids: &[u64]) {
    to.push(ids.len() as u8);
    ids.iter()
        .for_each(|id| to.extend_from_slice(&id.to_be_bytes()));
}

/// Takes fields off the front of an entry.
pub(super) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn new(entry: &'a [u8]) -> Self {
        Fields(entry)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*field)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array().map(|[byte]: [u8; 1]| byte)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    pub(super) fn bool(&mut self) -> Option<bool> {
        match self.u8()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    pub(super) fn held(&mut self) -> Option<Held> {
        Held::decode(&self.array::<CREDENTIAL_BYTES>()?).ok()
    }

    pub(super) fn pair(&mut self) -> Option<[Held; 2]> {
        Some([self.held()?, self.held()?])
    }

    pub(super) fn list<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Option<T>,
    ) -> Option<Vec<T>> {
        (0..self.u8()?).map(|_| item(self)).collect()
    }

    pub(super) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }
}
