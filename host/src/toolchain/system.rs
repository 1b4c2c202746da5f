//! Which system this is, and how its packages are installed.
//!
//! Packages are installed without asking only as root on Debian and its derivatives, where the
//! commands are known to be harmless and are what a container or a build machine expects. Everywhere
//! else the person gets the exact command.

use std::path::{Path, PathBuf};

/// A family of systems that share package names and an installer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum System {
    /// Debian, Ubuntu and their derivatives: apt-get.
    Debian,
    /// Fedora, RHEL and theirs: dnf.
    Fedora,
    /// Arch: pacman.
    Arch,
    /// Alpine: apk.
    Alpine,
    /// macOS: Homebrew.
    MacOs,
    /// Anything else.
    Other,
}

impl System {
    /// The system at hand.
    pub fn detect() -> Self {
        if cfg!(target_os = "macos") {
            return Self::MacOs;
        }
        // Both places are in os-release(5), the first one wins.
        ["/etc/os-release", "/usr/lib/os-release"]
            .into_iter()
            .find_map(|path| std::fs::read_to_string(path).ok())
            .map_or(Self::Other, |text| Self::from_os_release(&text))
    }

    /// Reads `ID` and `ID_LIKE` of an os-release(5) file.
    pub fn from_os_release(text: &str) -> Self {
        let value = |key: &str| {
            text.lines()
                .filter_map(|line| line.trim().split_once('='))
                .find(|(name, _)| *name == key)
                .map_or("", |(_, value)| value.trim_matches(['"', '\'']))
        };
        let ids = value("ID")
            .split_whitespace()
            .chain(value("ID_LIKE").split_whitespace());
        ids.map(Self::from_id)
            .find(|system| *system != Self::Other)
            .unwrap_or(Self::Other)
    }

    fn from_id(id: &str) -> Self {
        match id {
            "debian" | "ubuntu" => Self::Debian,
            "fedora" | "rhel" | "centos" => Self::Fedora,
            "arch" => Self::Arch,
            "alpine" => Self::Alpine,
            _ => Self::Other,
        }
    }

    /// The command that installs `packages`; `None` where no installer is known.
    pub fn install_command(self, packages: &[&str], root: bool) -> Option<String> {
        // `apt-get update` belongs to it: a fresh image has no package lists.
        let command = match self {
            Self::Debian if root => "apt-get update && apt-get install -y",
            Self::Debian => "sudo apt-get update && sudo apt-get install -y",
            Self::Fedora => "dnf install -y",
            Self::Arch => "pacman -S --needed",
            Self::Alpine => "apk add",
            Self::MacOs => "brew install",
            Self::Other => return None,
        };
        let sudo = match self {
            Self::Fedora | Self::Arch | Self::Alpine if !root => "sudo ",
            _ => "",
        };
        Some(format!("{sudo}{command} {}", packages.join(" ")))
    }
}

/// Whether this process is root: it can read what only root can.
pub(super) fn is_root() -> bool {
    // The effective user id, fourth field's second number in /proc/self/status; without /proc
    // (macOS) nothing is installed unasked anyway.
    std::fs::read_to_string("/proc/self/status")
        .is_ok_and(|status| effective_user(&status) == Some(0))
}

fn effective_user(status: &str) -> Option<u32> {
    let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    ids.split_whitespace().nth(1)?.parse().ok()
}

/// The first executable file called `program` on `PATH`.
pub(super) fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|dir| dir.join(program))
        .find(|file| is_executable(file))
}

/// A file that may be executed.
pub(super) fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(file)
        .is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn os_release_names_the_family() {
        let cases = [
            (
                "PRETTY_NAME=\"Debian GNU/Linux 12\"\nID=debian\n",
                System::Debian,
            ),
            ("ID=ubuntu\nID_LIKE=debian\n", System::Debian),
            ("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n", System::Debian),
            ("ID=fedora\nVERSION_ID=42\n", System::Fedora),
            (
                "ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n",
                System::Fedora,
            ),
            ("ID=arch\n", System::Arch),
            ("ID=alpine\n", System::Alpine),
            ("ID=nixos\n", System::Other),
            ("", System::Other),
        ];
        for (text, system) in cases {
            assert_eq!(System::from_os_release(text), system, "{text:?}");
        }
    }

    #[test]
    fn the_command_asks_for_root_only_where_it_needs_to() {
        let command =
            |system: System, root| system.install_command(&["make", "lld"], root).unwrap();
        assert_eq!(
            command(System::Debian, true),
            "apt-get update && apt-get install -y make lld"
        );
        assert_eq!(
            command(System::Debian, false),
            "sudo apt-get update && sudo apt-get install -y make lld"
        );
        assert_eq!(
            command(System::Fedora, false),
            "sudo dnf install -y make lld"
        );
        assert_eq!(command(System::Arch, true), "pacman -S --needed make lld");
        assert_eq!(command(System::MacOs, false), "brew install make lld");
        assert_eq!(System::Other.install_command(&["make"], true), None);
    }

    #[test]
    fn the_effective_user_is_the_second_number() {
        assert_eq!(effective_user("Name:\tx\nUid:\t1000\t0\t0\t0\n"), Some(0));
        assert_eq!(effective_user("Name:\tx\n"), None);
    }
}
