//! An image on its way: read and hashed by one thread, decompressed by a second, used by the caller.
//!
//! It knows no disk. Invariants: a fixed number of buffers is in flight, whatever the image's size; the digest covers
//! every byte of the source, also those behind the end of the compressed data.

use std::io::{self, BufRead, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use sha2::{Digest, Sha256};
use shoal_recipe::FailedStep;

use crate::failure::Failure;
use crate::image::{Compression, decode};

/// Plain bytes that are handed over at a time; only the last block has fewer.
pub const BLOCK_BYTES: usize = 4 << 20;
const BLOCKS_WAITING: usize = 1;
const CHUNK_BYTES: usize = 512 << 10;
const CHUNKS_WAITING: usize = 4;

/// An image that was read to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Streamed {
    /// Of the bytes as they were transferred.
    pub sha256: [u8; 32],
    pub transferred: u64,
    pub compression: Compression,
}

/// Reads `source` to its end and calls `on_block` with its plain bytes, in order. `transferred` counts what was read.
pub fn stream(
    source: &mut (dyn Read + Send),
    transferred: &AtomicU64,
    mut on_block: impl FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<Streamed, Failure> {
    std::thread::scope(|scope| {
        let (chunks, incoming) = sync_channel(CHUNKS_WAITING);
        let (blocks, plain) = sync_channel(BLOCKS_WAITING);
        let (used, empty) = sync_channel(BLOCKS_WAITING + 2);
        let reader = scope.spawn(move || read_and_hash(source, transferred, &chunks));
        let decoder = scope.spawn(move || decode_blocks(incoming, &blocks, &empty));
        let mut outcome = Ok(());
        while let Ok(block) = plain.recv() {
            outcome = on_block(&block);
            if outcome.is_err() {
                break;
            }
            // No thread waits for it at the end.
            used.try_send(block).ok();
        }
        drop((plain, used));
        let decoded = decoder.join().expect("the decoder does not panic");
        let read = reader.join().expect("the reader does not panic");
        outcome?;
        // Where the source failed, the decoder failed for it.
        let (sha256, transferred) = read?;
        Ok(Streamed { sha256, transferred, compression: decoded? })
    })
}

fn read_and_hash(
    source: &mut (dyn Read + Send),
    transferred: &AtomicU64,
    chunks: &SyncSender<Vec<u8>>,
) -> Result<([u8; 32], u64), Failure> {
    let (mut hash, mut total) = (Sha256::new(), 0);
    loop {
        let mut chunk = vec![0; CHUNK_BYTES];
        let length = fill(source, &mut chunk)
            .map_err(|error| Failure::new(FailedStep::Image, format!("the image cannot be read: {error}")))?;
        chunk.truncate(length);
        hash.update(&chunk);
        total += length as u64;
        transferred.store(total, Ordering::Relaxed);
        if length == 0 || chunks.send(chunk).is_err() {
            return Ok((hash.finalize().into(), total));
        }
    }
}

/// Fills `buffer` as far as the source goes.
fn fill(source: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match source.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

fn decode_blocks(
    incoming: Receiver<Vec<u8>>,
    blocks: &SyncSender<Vec<u8>>,
    empty: &Receiver<Vec<u8>>,
) -> Result<Compression, Failure> {
    let mut chunks = Chunks { incoming, chunk: Vec::new(), at: 0 };
    let (compression, mut plain) = decode(&mut chunks)?;
    loop {
        let mut block = empty.try_recv().unwrap_or_default();
        block.resize(BLOCK_BYTES, 0);
        let length = fill(&mut *plain, &mut block).map_err(|error| {
            let name = compression.name();
            Failure::new(FailedStep::Image, format!("the image ({name}) is damaged or incomplete: {error}"))
        })?;
        block.truncate(length);
        if length == 0 {
            break;
        }
        if blocks.send(block).is_err() {
            return Ok(compression);
        }
    }
    drop(plain);
    // What stands behind the compressed data belongs to the digest.
    chunks.incoming.iter().for_each(drop);
    Ok(compression)
}

/// The chunks of the source, as a reader.
struct Chunks {
    incoming: Receiver<Vec<u8>>,
    chunk: Vec<u8>,
    at: usize,
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let chunk = self.fill_buf()?;
        let length = chunk.len().min(buffer.len());
        buffer[..length].copy_from_slice(&chunk[..length]);
        self.consume(length);
        Ok(length)
    }
}

impl BufRead for Chunks {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.chunk.len() {
            self.chunk = self.incoming.recv().unwrap_or_default();
            self.at = 0;
        }
        Ok(&self.chunk[self.at..])
    }

    fn consume(&mut self, length: usize) {
        self.at += length;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(plain: &[u8]) -> Vec<u8> {
        zstd::encode_all(plain, 1).unwrap()
    }

    /// Stored in `tests/`, made by `xz`: this crate only decodes.
    fn xz_of_zeros() -> Vec<u8> {
        include_bytes!("../tests/zeros-9-mib.xz").to_vec()
    }

    fn collect(source: &[u8]) -> Result<(Streamed, Vec<u8>), Failure> {
        let mut plain = Vec::new();
        let streamed = stream(&mut &source[..], &AtomicU64::new(0), |block| {
            plain.extend_from_slice(block);
            Ok(())
        })?;
        Ok((streamed, plain))
    }

    fn sample() -> Vec<u8> {
        (0..9_u32 << 20).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
    }

    #[test]
    fn every_compression_gives_the_plain_bytes_and_the_digest_of_the_transferred() {
        let plain = sample();
        let twice = [zstd(&plain[..5 << 20]), zstd(&plain[5 << 20..])].concat();
        let sources = [
            (Compression::None, plain.clone(), plain.clone()),
            (Compression::Gzip, gzip(&plain), plain.clone()),
            (Compression::Zstd, zstd(&plain), plain.clone()),
            (Compression::Zstd, twice, plain.clone()),
            (Compression::Xz, xz_of_zeros(), vec![0; 9 << 20]),
        ];
        for (compression, source, expected) in sources {
            let (streamed, found) = collect(&source).unwrap();
            assert!(found == expected, "{compression:?}");
            assert_eq!(streamed.compression, compression);
            assert_eq!(streamed.sha256, <[u8; 32]>::from(Sha256::digest(&source)));
            assert_eq!(streamed.transferred, source.len() as u64);
        }
    }

    #[test]
    fn compressed_data_that_end_early_are_an_error() {
        for whole in [gzip(&sample()), zstd(&sample()), xz_of_zeros()] {
            let failure = collect(&whole[..whole.len() / 2]).unwrap_err();
            assert!(failure.message.contains("damaged or incomplete"), "{failure}");
        }
    }

    #[test]
    fn a_source_that_fails_and_a_consumer_that_fails_end_everything() {
        struct Broken(usize);
        impl Read for Broken {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.0 = self.0.checked_sub(1).ok_or_else(|| io::Error::other("cable pulled"))?;
                buffer.fill(1);
                Ok(buffer.len())
            }
        }
        let failure = stream(&mut Broken(40), &AtomicU64::new(0), |_| Ok(())).unwrap_err();
        assert!(failure.message.contains("cable pulled"), "{failure}");
        let refuse = |_: &[u8]| Err(Failure::new(FailedStep::Write, "full"));
        let failure = stream(&mut Broken(1 << 30), &AtomicU64::new(0), refuse).unwrap_err();
        assert_eq!(failure.message, "full");
    }

    #[test]
    fn nothing_is_no_image_and_no_block() {
        assert_eq!(collect(&[]).unwrap().1, Vec::<u8>::new());
    }
}
