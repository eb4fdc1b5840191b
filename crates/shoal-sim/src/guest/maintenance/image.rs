//! The image on a task medium, read and hashed piece by piece.
//!
//! It keeps none of its bytes. Invariant: a piece is counted once, however often it is asked for.

use std::ops::Range;

use sha2::{Digest, Sha256};

use super::medium::TaskMedium;
use crate::guest::reader::ReaderLook;
use crate::guest::{ReadAnswer, ReadRequest};
use crate::machine::Machine;

/// What a kernel reads of a drive at a time.
const PIECE_BYTES: u64 = 256 << 10;

#[derive(Debug)]
pub struct ImageReading {
    parts: Vec<String>,
    /// Where the parts lie, once that is known.
    places: Option<Vec<Range<u64>>>,
    bytes: u64,
    hash: Sha256,
    trouble: Option<String>,
}

impl ImageReading {
    pub fn new(parts: Vec<String>) -> ImageReading {
        ImageReading { parts, places: None, bytes: 0, hash: Sha256::new(), trouble: None }
    }

    /// Reads on until so many halves of the image are there.
    pub fn look(
        &mut self,
        halves: u64,
        medium: &mut TaskMedium,
        machine: &Machine,
    ) -> ReaderLook<Result<(), String>> {
        if let Some(trouble) = &self.trouble {
            return ReaderLook::Done(Err(trouble.clone()));
        }
        let Some(places) = &self.places else {
            match medium.places(&self.parts, machine) {
                ReaderLook::Need(request) => return ReaderLook::Need(request),
                ReaderLook::Done(None) => {
                    return ReaderLook::Done(Err("the task medium lacks a part of the image".to_owned()));
                }
                ReaderLook::Done(Some(places)) => self.places = Some(places),
            }
            return self.look(halves, medium, machine);
        };
        let size: u64 = places.iter().map(|place| place.end - place.start).sum();
        match self.next() {
            Some(piece) if self.bytes < size / 2 * halves || halves == 2 => {
                let len = (piece.end - piece.start) as usize;
                match medium.is_there(machine) {
                    true => ReaderLook::Need(ReadRequest { drive: medium.drive(), offset: piece.start, len }),
                    false => ReaderLook::Done(Err("the task medium was taken away".to_owned())),
                }
            }
            _ => ReaderLook::Done(Ok(())),
        }
    }

    /// The bytes of the medium that are read next.
    fn next(&self) -> Option<Range<u64>> {
        let mut skip = self.bytes;
        for place in self.places.iter().flatten() {
            let length = place.end - place.start;
            if skip < length {
                let start = place.start + skip;
                return Some(start..place.end.min(start + PIECE_BYTES));
            }
            skip -= length;
        }
        None
    }

    /// Where the parts lie is known, so the next answer is a piece.
    pub fn is_under_way(&self) -> bool {
        self.places.is_some()
    }

    pub fn answer(&mut self, answer: ReadAnswer) {
        match answer {
            ReadAnswer::Data { bytes, .. } => {
                self.bytes += bytes.len() as u64;
                self.hash.update(&bytes);
            }
            ReadAnswer::NoMedium => self.trouble = Some("the task medium was taken away".to_owned()),
            ReadAnswer::Failed => self.trouble = Some("I/O error".to_owned()),
        }
    }

    /// Of all the bytes, lower-case hex.
    pub fn sha256(&self) -> String {
        shoal_base::hex(&self.hash.clone().finalize())
    }
}
