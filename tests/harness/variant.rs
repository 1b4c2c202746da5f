//! Artifacts made from others, byte by byte.

/// The same component with another digest: a custom section at its end, which means nothing (a
/// section's id, its length, its name and the rest; the component model's binary format keeps that of
/// core modules).
pub fn variant(artifact: &[u8], text: &str) -> Vec<u8> {
    const NAME: &[u8] = b"variant";
    let length = 1 + NAME.len() + text.len();
    // One byte of LEB128 says less than 128.
    assert!(length < 0x80, "{text:?} is too long");
    let mut bytes = artifact.to_vec();
    bytes.extend([0, length as u8, NAME.len() as u8]);
    bytes.extend_from_slice(NAME);
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

/// A core module with nothing in it.
pub const CORE_MODULE: &[u8] = b"\0asm\x01\0\0\0";
