//! Where the bytes of a sparse member belong: GNU tar's old form and PAX form 1.0. Writes nothing.

use std::io::Read;

use tar::{GnuExtSparseHeader, GnuSparseHeader, Header};

use super::super::ImageError;
use super::{BLOCK, Member, Tarball, cut_off, end_of_source, number};

/// Pieces of one file; a file of 1 TiB with a hole in each megabyte has as many.
const PIECES_MAX: usize = 1 << 20;

impl<R: Read> Tarball<R> {
    /// Four pieces are in the header, more in blocks behind it, which the member's size does not count.
    pub(super) fn old_sparse(&mut self, header: &Header, member: &mut Member) -> Result<(), ImageError> {
        let Some(gnu) = header.as_gnu() else { return Err(broken(member, "it is in no GNU header")) };
        let mut pieces = Vec::new();
        take(&gnu.sparse, &mut pieces, member)?;
        let mut more = gnu.isextended[0] != 0;
        while more {
            let mut block = GnuExtSparseHeader::new();
            self.from.read_exact(block.as_mut_bytes()).map_err(end_of_source)?;
            take(&block.sparse, &mut pieces, member)?;
            more = block.isextended[0] != 0;
        }
        let real = number(&gnu.realsize).ok_or_else(|| broken(member, "its size is no number"))?;
        check(member, real, pieces, self.left)
    }

    /// The map is decimal lines before the bytes, filled up to a block: how many pieces, then offset and length of each.
    pub(super) fn pax_sparse(&mut self, real: u64, member: &mut Member) -> Result<(), ImageError> {
        let mut map = Map { bytes: Vec::new(), at: 0 };
        let count = map.number(self, member)?;
        if count > PIECES_MAX as u64 {
            return Err(broken(member, "it has too many pieces"));
        }
        let mut pieces = Vec::new();
        for _ in 0..count {
            pieces.push((map.number(self, member)?, map.number(self, member)?));
        }
        check(member, real, pieces, self.left)
    }
}

/// The blocks of a map, read as its lines are asked for.
struct Map {
    bytes: Vec<u8>,
    at: usize,
}

impl Map {
    fn number<R: Read>(&mut self, from: &mut Tarball<R>, member: &Member) -> Result<u64, ImageError> {
        let mut value = 0u64;
        loop {
            if self.at == self.bytes.len() {
                self.bytes.resize(BLOCK, 0);
                self.at = 0;
                if from.left < BLOCK as u64 {
                    return Err(cut_off());
                }
                from.read_exact(&mut self.bytes)?;
            }
            let byte = self.bytes[self.at];
            self.at += 1;
            let digit = match byte {
                b'\n' => return Ok(value),
                b'0'..=b'9' => u64::from(byte - b'0'),
                _ => return Err(broken(member, "its map is no list of numbers")),
            };
            let next = value.checked_mul(10).and_then(|value| value.checked_add(digit));
            value = next.ok_or_else(|| broken(member, "its map is no list of numbers"))?;
        }
    }
}

fn take(headers: &[GnuSparseHeader], pieces: &mut Vec<(u64, u64)>, member: &Member) -> Result<(), ImageError> {
    for header in headers.iter().filter(|header| header.numbytes[0] != 0) {
        let (offset, length) = (number(&header.offset), number(&header.numbytes));
        let (Some(offset), Some(length)) = (offset, length) else {
            return Err(broken(member, "its map is no list of numbers"));
        };
        pieces.push((offset, length));
    }
    if pieces.len() > PIECES_MAX { Err(broken(member, "it has too many pieces")) } else { Ok(()) }
}

/// Pieces must rise, lie within the file, and use up exactly the bytes that there are.
fn check(member: &mut Member, real: u64, pieces: Vec<(u64, u64)>, bytes: u64) -> Result<(), ImageError> {
    let mut end = 0u64;
    let mut sum = 0u64;
    for (offset, length) in &pieces {
        let behind = offset.checked_add(*length).filter(|behind| *offset >= end && *behind <= real);
        end = behind.ok_or_else(|| broken(member, "its pieces overlap or lie behind its end"))?;
        sum += length;
    }
    if sum != bytes {
        return Err(broken(member, "its pieces are not as long as its bytes"));
    }
    member.size = real;
    member.pieces = Some(pieces);
    Ok(())
}

fn broken(member: &Member, why: &str) -> ImageError {
    ImageError::Invalid(format!("the sparse file {:?} is damaged: {why}", String::from_utf8_lossy(&member.path)))
}
