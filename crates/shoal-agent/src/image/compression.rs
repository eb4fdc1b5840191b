//! How an image is compressed, and its plain bytes.
//!
//! Invariant: memory does not depend on the image's size, and a window that an image asks for is bounded.

use std::io::{self, BufRead, Read};

use shoal_recipe::FailedStep;

use crate::failure::Failure;

/// The largest window of zstd, as a power of two: 128 MiB, which is what its command accepts too. Levels up to 19
/// need 8 MiB.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;
/// `xz -9` needs 65 MiB.
const XZ_MEMORY_MAX_KB: u32 = 192 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    None,
    Gzip,
    Xz,
    Zstd,
}

impl Compression {
    pub fn detect(start: &[u8]) -> Compression {
        let is_zstd = start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd])
            || (start.len() >= 4 && start[0] & 0xf0 == 0x50 && start[1..4] == [0x2a, 0x4d, 0x18]);
        match start {
            _ if is_zstd => Compression::Zstd,
            [0x1f, 0x8b, ..] => Compression::Gzip,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Compression::Xz,
            _ => Compression::None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Compression::None => "not compressed",
            Compression::Gzip => "gzip",
            Compression::Xz => "xz",
            Compression::Zstd => "zstd",
        }
    }
}

/// The plain bytes of `source`, whose compression is found by its first bytes.
pub fn decode<'a, R: BufRead + Send + 'a>(
    mut source: R,
) -> Result<(Compression, Box<dyn Read + Send + 'a>), Failure> {
    let failed =
        |error: io::Error| Failure::new(FailedStep::Image, format!("the image cannot be read: {error}"));
    let start = source.fill_buf().map_err(failed)?;
    let compression = Compression::detect(start);
    let reader: Box<dyn Read + Send + 'a> = match compression {
        Compression::None => Box::new(source),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(source)),
        Compression::Xz => Box::new(lzma_rust2::XzReader::new_mem_limit(source, true, XZ_MEMORY_MAX_KB)),
        Compression::Zstd => {
            let mut decoder = zstd::Decoder::with_buffer(source).map_err(failed)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(failed)?;
            Box::new(decoder)
        }
    };
    Ok((compression, reader))
}
