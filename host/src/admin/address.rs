//! Where the operators' listener is, written down for the commands that ask it.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The address's file, in the state directory.
const FILE: &str = "admin-address";

/// Where the address lies.
pub fn path(state_dir: &Path) -> PathBuf {
    state_dir.join(FILE)
}

/// Writes down where the host with this state directory listens, in the place of what an earlier run
/// left.
///
/// # Errors
///
/// The state directory cannot be written.
pub fn write(state_dir: &Path, address: SocketAddr) -> io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(state_dir)?;
    writeln!(file, "{address}")?;
    file.persist(path(state_dir))?;
    Ok(())
}

/// Where the host with this state directory listens, or listened when it last ran; `None` where none
/// has run. An address of all interfaces is given as the loopback address.
///
/// # Errors
///
/// The file cannot be read, or holds no address.
pub fn read(state_dir: &Path) -> io::Result<Option<SocketAddr>> {
    let text = match std::fs::read_to_string(path(state_dir)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut address: SocketAddr = text
        .trim_end()
        .parse()
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    Ok(Some(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_last_is_read() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        assert_eq!(read(dir.path()).expect("nothing"), None);
        for (written, found) in [
            ("127.0.0.1:1", "127.0.0.1:1"),
            ("0.0.0.0:90", "127.0.0.1:90"),
            ("[::]:90", "[::1]:90"),
        ] {
            write(dir.path(), written.parse().expect("an address")).expect("written");
            let address = read(dir.path()).expect("readable").expect("there");
            assert_eq!(address.to_string(), found);
        }
        std::fs::write(path(dir.path()), "nonsense").expect("written");
        assert!(read(dir.path()).is_err());
    }
}
