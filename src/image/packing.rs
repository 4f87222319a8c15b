//! Unpacks gzip and zstd streams, with several members or frames in a row. Does not know what they hold.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::{ImageError, Packing};

/// Compressed bytes that are asked of the source at a time.
const SOURCE_BUFFER: usize = 64 << 10;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Skippable frames may come first (RFC 8878, 3.1.2): their magic is 0x184D2A50 to 0x184D2A5F.
const ZSTD_SKIP_MAGIC: [u8; 3] = [0x2a, 0x4d, 0x18];
/// The longest magic.
const PEEK: usize = 4;

/// The plain bytes of `from`.
pub(super) fn unpacked<'a>(from: impl Read + 'a, packing: Packing) -> io::Result<Box<dyn Read + 'a>> {
    let mut from = BufReader::with_capacity(SOURCE_BUFFER, from);
    let packing = match packing {
        Packing::Guess => {
            let first = peek(&mut from)?;
            let is_zstd = first == ZSTD_MAGIC || first.len() == PEEK && first[1..] == ZSTD_SKIP_MAGIC;
            let from = io::Cursor::new(first.clone()).chain(from);
            let from = BufReader::with_capacity(SOURCE_BUFFER, from);
            return Ok(match () {
                () if first.starts_with(&GZIP_MAGIC) => Box::new(MultiGzDecoder::new(from)),
                () if is_zstd => Box::new(Frames::new(from)),
                () => Box::new(from),
            });
        }
        Packing::Plain | Packing::Gzip | Packing::Zstd => packing,
    };
    Ok(match packing {
        Packing::Gzip => Box::new(MultiGzDecoder::new(from)),
        Packing::Zstd => Box::new(Frames::new(from)),
        Packing::Plain | Packing::Guess => Box::new(from),
    })
}

fn peek(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut first = Vec::with_capacity(PEEK);
    from.take(PEEK as u64).read_to_end(&mut first)?;
    Ok(first)
}

/// All frames of a zstd stream; ruzstd decodes one at a time.
struct Frames<R> {
    from: R,
    decoder: FrameDecoder,
    /// A frame is being decoded.
    within: bool,
}

impl<R: BufRead> Frames<R> {
    fn new(from: R) -> Frames<R> {
        Frames { from, decoder: FrameDecoder::new(), within: false }
    }

    /// Starts the next frame; false at the end of the stream.
    fn begin(&mut self) -> io::Result<bool> {
        while !self.from.fill_buf()?.is_empty() {
            match self.decoder.reset(&mut self.from) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                    let skipped = io::copy(&mut (&mut self.from).take(length.into()), &mut io::sink())?;
                    if skipped < u64::from(length) {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(e) => return Err(damaged(e)),
            }
        }
        Ok(false)
    }
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if !self.within {
                if !self.begin()? {
                    return Ok(0);
                }
                self.within = true;
            }
            while self.decoder.can_collect() < buffer.len() && !self.decoder.is_finished() {
                let wanted = BlockDecodingStrategy::UptoBytes(buffer.len());
                self.decoder.decode_blocks(&mut self.from, wanted).map_err(damaged)?;
            }
            match self.decoder.read(buffer)? {
                0 => self.within = false,
                count => return Ok(count),
            }
        }
    }
}

/// ruzstd hides what its source said; an error of ours within must come out as it was.
fn damaged(error: FrameDecoderError) -> io::Error {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(inner) = cause {
        if let Some(io) = inner.downcast_ref::<io::Error>() {
            let ours = io.get_ref().and_then(|inner| inner.downcast_ref::<ImageError>());
            return match ours {
                Some(ours) => ours.clone().into(),
                None => io::Error::new(io.kind(), format!("unpack zstd: {io}")),
            };
        }
        cause = inner.source();
    }
    io::Error::new(io::ErrorKind::InvalidData, format!("unpack zstd: {error}"))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use flate2::{Compression, write::GzEncoder};
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::{Packing, unpacked};

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(bytes).unwrap();
        packed.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        compress_to_vec(bytes, CompressionLevel::Fastest)
    }

    fn read(packed: &[u8], packing: Packing) -> Result<Vec<u8>, String> {
        let mut plain = Vec::new();
        unpacked(packed, packing).unwrap().read_to_end(&mut plain).map_err(|e| e.to_string())?;
        Ok(plain)
    }

    #[test]
    fn every_packing_gives_the_plain_bytes() {
        let skippable = [&[0x53, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 9, 9][..], &zstd(b"ab")].concat();
        let cases: [(&str, Vec<u8>, Packing, &[u8]); 9] = [
            ("plain", b"abc".to_vec(), Packing::Guess, b"abc"),
            ("nothing", vec![], Packing::Guess, b""),
            ("one byte", vec![0x1f], Packing::Guess, b"\x1f"),
            ("gzip", gzip(b"abc"), Packing::Guess, b"abc"),
            ("two members", [gzip(b"ab"), gzip(b"c")].concat(), Packing::Gzip, b"abc"),
            ("zstd", zstd(b"abc"), Packing::Guess, b"abc"),
            ("two frames", [zstd(b"ab"), zstd(b"c")].concat(), Packing::Zstd, b"abc"),
            ("a skippable frame", skippable, Packing::Guess, b"ab"),
            ("not guessed", gzip(b"abc"), Packing::Plain, &gzip(b"abc")),
        ];
        for (name, packed, packing, plain) in cases {
            assert_eq!(read(&packed, packing).unwrap(), plain, "{name}");
        }
    }

    #[test]
    fn damage_is_an_error() {
        let long: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
        for (name, packed) in [("gzip", gzip(&long)), ("zstd", zstd(&long))] {
            assert!(read(&packed[..packed.len() / 2], Packing::Guess).is_err(), "{name} cut off");
            assert!(read(&[&packed[..], b"garbage"].concat(), Packing::Guess).is_err(), "{name} with garbage behind");
        }
    }
}
