//! The join: the layout's bytes through the layer's codec.

use layer_tar::codec::{Compression, decoder};
use oci_layout::Hashed;
use std::io::{self, Read};
use wire::{Algorithm, Descriptor, Digest, media_type};

/// The diff ID that a layer really has. Its bytes must be what its media type says.
pub fn diff_id(layer: &Descriptor, algorithm: Algorithm, blob: &mut (dyn Read + Send)) -> io::Result<Digest> {
    let mut start = Vec::with_capacity(4);
    blob.take(4).read_to_end(&mut start)?;
    let (found, told) = (Compression::detect(&start), told(&layer.media_type));
    if found != told {
        let message = format!("the bytes are {}, its media type says {}", word(found), word(told));
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    let mut tar = Hashed::with(decoder(io::Cursor::new(start).chain(blob))?, algorithm);
    let mut buffer = vec![0; 256 << 10];
    while tar.read(&mut buffer)? > 0 {}
    Ok(tar.finish().1)
}

fn told(media_type: &str) -> Compression {
    match media_type {
        media_type::DOCKER_LAYER_GZIP => Compression::Gzip,
        gzip if gzip.ends_with("gzip") => Compression::Gzip,
        zstd if zstd.ends_with("zstd") => Compression::Zstd,
        _ => Compression::None,
    }
}

fn word(compression: Compression) -> &'static str {
    match compression {
        Compression::None => "not compressed",
        Compression::Gzip => "gzip",
        Compression::Zstd => "zstd",
    }
}
