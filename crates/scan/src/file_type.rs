//! The types of file this crate tells apart, by name.

use serde::{Deserialize, Serialize};

macro_rules! file_types {
    ($($(#[$doc:meta])* $name:ident = $text:literal),* $(,)?) => {
        /// What a file is.
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        pub enum FileType { $($(#[$doc])* $name),* }

        impl FileType {
            /// All types.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Lower-case name, as reports write it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }
        }
    };
}

file_types! {
    /// Executable and Linkable Format.
    Elf = "elf",
    /// Object of that format that is no program: to be linked, or loaded by the kernel.
    ElfObject = "elf-object",
    /// Portable Executable.
    Pe = "pe",
    /// MZ program that is no Portable Executable.
    Dos = "dos",
    /// Mach-O, also of several architectures.
    MachO = "macho",
    /// Portable Document Format.
    Pdf = "pdf",
    /// Compound file: old Office documents, Outlook messages.
    Ole = "ole",
    /// Windows Installer package, which is a compound file.
    Msi = "msi",
    /// Office Open XML.
    Ooxml = "ooxml",
    /// Rich Text Format.
    Rtf = "rtf",
    /// Zip archive, also what is built on it: jar, apk, wheel.
    Zip = "zip",
    /// 7z archive.
    SevenZip = "7z",
    /// RAR archive.
    Rar = "rar",
    /// Tape archive.
    Tar = "tar",
    /// gzip stream.
    Gzip = "gz",
    /// xz stream.
    Xz = "xz",
    /// Zstandard stream.
    Zstd = "zstd",
    /// bzip2 stream.
    Bzip2 = "bz2",
    /// Unix archive.
    Ar = "ar",
    /// Debian package, which is a Unix archive.
    Deb = "deb",
    /// cpio archive.
    Cpio = "cpio",
    /// RPM package.
    Rpm = "rpm",
    /// ISO 9660 image.
    Iso = "iso",
    /// Cabinet archive.
    Cab = "cab",
    /// Installer made by NSIS.
    Nsis = "nsis installer",
    /// Installer made by Inno Setup.
    Inno = "inno setup installer",
    /// Program packed by UPX.
    Upx = "upx-packed program",
    /// Mail message.
    Eml = "eml",
    /// HTML page.
    Html = "html",
    /// XML document.
    Xml = "xml",
    /// PHP.
    Php = "php",
    /// Active Server Pages, old and .NET.
    Asp = "asp",
    /// Jakarta Server Pages.
    Jsp = "jsp",
    /// JavaScript, also for the Windows Script Host.
    JavaScript = "javascript",
    /// VBScript.
    VbScript = "vbscript",
    /// Source of Office macros.
    Vba = "vba",
    /// Batch files.
    Batch = "batch",
    /// PowerShell.
    PowerShell = "powershell",
    /// Unix shells.
    Shell = "shell",
    /// Python.
    Python = "python",
    /// Compiled Python.
    Pyc = "pyc",
    /// Perl.
    Perl = "perl",
    /// Windows shortcut.
    Lnk = "lnk",
    /// Java class.
    Class = "class",
    /// Android bytecode.
    Dex = "dex",
    /// WebAssembly.
    Wasm = "wasm",
    /// Flash film.
    Swf = "swf",
    /// Picture.
    Image = "image",
    /// Sound or film.
    Media = "media",
    /// Font.
    Font = "font",
    /// Text of no known language.
    Text = "text",
    /// Nothing known.
    Unknown = "unknown",
}

impl FileType {
    /// The type of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == name)
    }

    /// Whether it is there to hold other files, and nothing but those can do harm.
    pub const fn is_archive(self) -> bool {
        matches!(
            self,
            Self::Zip
                | Self::SevenZip
                | Self::Rar
                | Self::Tar
                | Self::Gzip
                | Self::Xz
                | Self::Zstd
                | Self::Bzip2
                | Self::Ar
                | Self::Deb
                | Self::Cpio
                | Self::Rpm
                | Self::Iso
                | Self::Cab
                | Self::Eml
        )
    }

    /// Whether it is a document with parts of its own, which are judged besides the whole.
    pub const fn is_document(self) -> bool {
        matches!(
            self,
            Self::Pdf | Self::Ole | Self::Msi | Self::Ooxml | Self::Html
        )
    }

    /// Whether it is a program, which may carry archives behind or within itself.
    pub const fn is_program(self) -> bool {
        matches!(self, Self::Elf | Self::ElfObject | Self::Pe | Self::Dos)
    }

    /// Whether it cannot run and carries no code: judged with the document that holds it.
    pub const fn is_passive(self) -> bool {
        matches!(
            self,
            Self::Xml | Self::Image | Self::Media | Self::Font | Self::Text | Self::Unknown
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back() {
        for kind in FileType::ALL {
            assert_eq!(FileType::parse(kind.as_str()), Some(*kind));
            assert!(!(kind.is_archive() && kind.is_document()), "{kind:?}");
        }
        assert_eq!(FileType::parse("nothing"), None);
    }
}
