//! Archives and documents made in memory for the tests. Nothing in them is malicious: the judge of the
//! tests takes the word `EVIL` for that.

use std::io::{Cursor, Write};

use zip::write::SimpleFileOptions;

use crate::unpack::upx::{Code, Method};

mod office;
mod programs;
pub(crate) mod signed;
mod upx;

pub(crate) use office::{message, ole, packaged, vba_module};
pub(crate) use programs::{elf, installer, nsis, nsis_files, nsis_stream, pe};
pub(crate) use upx::{Shape, Wiped, loaded_elf, nrv, packed_elf, packed_pe};

/// A zip archive with these members.
pub(crate) fn zip(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in members {
        writer
            .start_file(*name, SimpleFileOptions::default())
            .unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// A zip archive with one locked member.
pub(crate) fn locked_zip(password: &str, name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().with_aes_encryption(zip::AesMode::Aes256, password);
    writer.start_file(name, options).unwrap();
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap().into_inner()
}

/// A tape archive with these members.
pub(crate) fn tar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, *bytes).unwrap();
    }
    builder.into_inner().unwrap()
}

/// A gzip stream.
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A zlib stream.
pub(crate) fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A bzip2 stream.
pub(crate) fn bzip2(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// An xz stream.
pub(crate) fn xz(bytes: &[u8]) -> Vec<u8> {
    let options = lzma_rust2::XzOptions::with_preset(1);
    let mut writer = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

/// A Zstandard stream.
pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

/// A 7z archive, locked where there is a password.
pub(crate) fn seven_zip(password: Option<&str>, members: &[(&str, &[u8])]) -> Vec<u8> {
    use sevenz_rust2::encoder_options::AesEncoderOptions;
    use sevenz_rust2::{ArchiveEntry, ArchiveWriter, EncoderMethod, Password};

    let mut writer = ArchiveWriter::new(Cursor::new(Vec::new())).unwrap();
    if let Some(password) = password {
        writer.set_content_methods(vec![
            AesEncoderOptions::new(Password::from(password)).into(),
            EncoderMethod::LZMA2.into(),
        ]);
    }
    for (name, bytes) in members {
        let entry = ArchiveEntry::new_file(name);
        writer.push_archive_entry(entry, Some(*bytes)).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// A Unix archive with these members; names of more than 15 letters as BSD writes them.
pub(crate) fn ar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = b"!<arch>\n".to_vec();
    for (name, bytes) in members {
        let (field, prefix) = if name.len() > 15 {
            (format!("#1/{}", name.len()), *name)
        } else {
            (format!("{name}/"), "")
        };
        let size = prefix.len() + bytes.len();
        writeln!(
            out,
            "{field:<16}0           0     0     100644  {size:<10}`"
        )
        .unwrap();
        out.extend_from_slice(prefix.as_bytes());
        out.extend_from_slice(bytes);
        if size % 2 == 1 {
            out.push(b'\n');
        }
    }
    out
}

/// A cabinet of one folder with these members, packed by MSZIP where `zips`. Each block refers to nothing
/// before it.
pub(crate) fn cab(zips: bool, members: &[(&str, &[u8])]) -> Vec<u8> {
    let content: Vec<u8> = members
        .iter()
        .flat_map(|(_, bytes)| *bytes)
        .copied()
        .collect();
    let blocks = content.chunks(32 << 10).map(|block| {
        let mut packed = block.to_vec();
        if zips {
            let level = flate2::Compression::best();
            let mut encoder = flate2::write::DeflateEncoder::new(b"CK".to_vec(), level);
            encoder.write_all(block).unwrap();
            packed = encoder.finish().unwrap();
        }
        (packed, block.len())
    });
    cab_of(u16::from(zips), members, &blocks.collect::<Vec<_>>())
}

/// A cabinet of one folder from its blocks, each with the length it unpacks to.
pub(crate) fn cab_of(
    packing: u16,
    members: &[(&str, &[u8])],
    blocks: &[(Vec<u8>, usize)],
) -> Vec<u8> {
    let mut files = Vec::new();
    let mut offset = 0_u32;
    for (name, bytes) in members {
        files.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        files.extend_from_slice(&offset.to_le_bytes());
        files.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0x20, 0]);
        files.extend_from_slice(name.as_bytes());
        files.push(0);
        offset += bytes.len() as u32;
    }
    let data_at = 36 + 8 + files.len();
    let mut out = b"MSCF\0\0\0\0".to_vec();
    out.resize(36, 0);
    out[16] = 44;
    out[24..26].copy_from_slice(&[3, 1]);
    out[26] = 1;
    out[28] = members.len() as u8;
    out.extend_from_slice(&(data_at as u32).to_le_bytes());
    out.extend_from_slice(&(blocks.len() as u16).to_le_bytes());
    out.extend_from_slice(&packing.to_le_bytes());
    out.extend_from_slice(&files);
    for (packed, length) in blocks {
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&(packed.len() as u16).to_le_bytes());
        out.extend_from_slice(&(*length as u16).to_le_bytes());
        out.extend_from_slice(packed);
    }
    let size = out.len() as u32;
    out[8..12].copy_from_slice(&size.to_le_bytes());
    out
}

/// A Debian package with this control script and this file.
pub(crate) fn deb(script: &[u8], path: &str, file: &[u8]) -> Vec<u8> {
    ar(&[
        ("debian-binary", b"2.0\n"),
        ("control.tar.gz", &gzip(&tar(&[("./postinst", script)]))),
        ("data.tar.xz", &xz(&tar(&[(path, file)]))),
    ])
}

/// A cpio archive with these members.
pub(crate) fn cpio(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    let all = members.iter().copied().chain([("TRAILER!!!", &b""[..])]);
    for (name, bytes) in all {
        let (size, name_size) = (bytes.len(), name.len() + 1);
        let fields = [1, 0o100_644, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0];
        out.extend_from_slice(b"070701");
        for field in fields {
            write!(out, "{field:08x}").unwrap();
        }
        out.extend_from_slice(name.as_bytes());
        out.push(0);
        out.resize(out.len().next_multiple_of(4), 0);
        out.extend_from_slice(bytes);
        out.resize(out.len().next_multiple_of(4), 0);
    }
    out
}

/// An RPM package around this payload.
pub(crate) fn rpm(payload: &[u8]) -> Vec<u8> {
    let section = [b"\x8e\xad\xe8\x01\0\0\0\0", &[0_u8; 8][..]].concat();
    let mut out = b"\xed\xab\xee\xdb\x03\0".to_vec();
    out.resize(96, 0);
    out.extend_from_slice(&section);
    out.extend_from_slice(&section);
    out.extend_from_slice(payload);
    out
}

/// An ISO 9660 image with one file in one folder, which also holds itself.
pub(crate) fn iso(name: &str, bytes: &[u8]) -> Vec<u8> {
    const SECTOR: usize = 2048;
    let record = |name: &[u8], sector: u32, length: usize, flags: u8| {
        let mut record = vec![0; 33 + name.len() + (name.len() + 1) % 2];
        record[0] = record.len() as u8;
        record[2..6].copy_from_slice(&sector.to_le_bytes());
        record[10..14].copy_from_slice(&(length as u32).to_le_bytes());
        record[25] = flags;
        record[32] = name.len() as u8;
        record[33..33 + name.len()].copy_from_slice(name);
        record
    };
    let mut image = vec![0; 20 * SECTOR];
    image[16 * SECTOR..16 * SECTOR + 6].copy_from_slice(b"\x01CD001");
    let root = record(&[0], 18, SECTOR, 2);
    image[16 * SECTOR + 156..][..root.len()].copy_from_slice(&root);
    image[17 * SECTOR..17 * SECTOR + 6].copy_from_slice(b"\xffCD001");
    let listed = [
        record(&[0], 18, SECTOR, 2),
        record(&[1], 18, SECTOR, 2),
        record(b"SUB", 19, SECTOR, 2),
    ]
    .concat();
    image[18 * SECTOR..][..listed.len()].copy_from_slice(&listed);
    let inner = [
        record(b"LOOP", 18, SECTOR, 2),
        record(format!("{name};1").as_bytes(), 20, bytes.len(), 0),
    ]
    .concat();
    image[19 * SECTOR..][..inner.len()].copy_from_slice(&inner);
    image.extend_from_slice(bytes);
    image.resize(image.len().next_multiple_of(SECTOR), 0);
    image
}

/// A PDF document with these objects.
pub(crate) fn pdf(objects: &[Vec<u8>]) -> Vec<u8> {
    let mut out = b"%PDF-1.7\n".to_vec();
    for (number, object) in objects.iter().enumerate() {
        writeln!(out, "{} 0 obj", number + 1).unwrap();
        out.extend_from_slice(object);
        out.extend_from_slice(b"\nendobj\n");
    }
    out.extend_from_slice(b"trailer << /Root 1 0 R >>\n%%EOF\n");
    out
}

/// A PDF stream object.
pub(crate) fn pdf_stream(dictionary: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("<< {dictionary} /Length {} >>\nstream\n", body.len());
    [head.as_bytes(), body, b"\nendstream"].concat()
}

/// A mail with one attachment.
pub(crate) fn mail(name: &str, base64: &str) -> Vec<u8> {
    format!(
        "From: a@example.org\r\nTo: b@example.org\r\nSubject: hi\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=\"x\"\r\n\r\n--x\r\n\
         Content-Type: text/plain\r\n\r\nhello\r\n--x\r\n\
         Content-Type: application/octet-stream; name=\"{name}\"\r\n\
         Content-Disposition: attachment; filename=\"{name}\"\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n{base64}\r\n--x--\r\n"
    )
    .into_bytes()
}

/// Every format's sample, as its case file has it.
fn all() -> Vec<(&'static str, Vec<u8>)> {
    const SHELL: &[u8] = b"#!/bin/sh\necho EVIL\n";
    let members: &[(&str, &[u8])] = &[("a/run.sh", SHELL), ("b.txt", b"words")];
    let module = vba_module("Sub AutoOpen()\r\nMsgBox \"EVIL\"\r\nEnd Sub\r\n");
    let object = packaged("run.sh", SHELL);
    let script = pdf_stream("/Filter /FlateDecode", &zlib(b"app.alert('EVIL');"));
    let text = b"echo EVIL; echo more; ".repeat(12);
    let (nrv_b, nrv_e) = (Method::Nrv(Code::B, 4), Method::Nrv(Code::E, 4));
    let shape = |is_wide, is_big| Shape { is_wide, is_big };
    let packed = zlib(b"<< /S /JavaScript /JS (var hidden = 1;) >>");
    vec![
        (
            "ar",
            ar(&[
                ("debian-binary", b"2.0\n"),
                ("a-name-of-more-than-15-letters", SHELL),
            ]),
        ),
        ("cab/stored", cab(false, members)),
        ("cab/mszip", cab(true, members)),
        ("cpio", cpio(members)),
        ("eml", mail("run.sh", "IyEvYmluL3NoCmVjaG8gRVZJTAo=")),
        (
            "html",
            b"<html><SCRIPT>var a;</script><script language=VBScript>Dim b</script>".to_vec(),
        ),
        (
            "identify",
            b"GIF89a;<?php eval($_POST[1]); ?> %PDF-1.4 new ActiveXObject(".to_vec(),
        ),
        ("iso", iso("RUN.SH", SHELL)[16 * 2048..20 * 2048].to_vec()),
        ("ole/message", message("run of the day.sh", SHELL)),
        ("layout/elf", elf(b".text", b"CODE")),
        ("layout/pe", pe(b".rsrc", b"DATA")),
        (
            "layout/pdf",
            pdf(&[b"<< /Root >>".to_vec(), pdf_stream("", b"CONTENT")]),
        ),
        ("layout/ole", ole(&[("First", b"alpha")])),
        (
            "ole",
            ole(&[("ThisDocument", &module), ("\u{1}Ole10Native", &object)]),
        ),
        (
            "pdf",
            pdf(&[
                b"<< /OpenAction << /J#53 (one\\(1\\);) >> /JS 2 0 R >>".to_vec(),
                script,
                pdf_stream("/Type /ObjStm /Filter [ /FlateDecode ]", &packed),
                pdf_stream(
                    "/Type /EmbeddedFile /Filter /ASCII85Decode",
                    b"<~87cURD]i,\"Ebo80~>",
                ),
            ]),
        ),
        (
            "program/archive",
            [pe(b".rsrc", &cab(false, members)), seven_zip(None, members)].concat(),
        ),
        ("program/installer", installer()),
        ("program/nsis_stream", nsis(&nsis_stream(&[SHELL, b"x"]))),
        ("program/nsis_files", nsis(&nsis_files(SHELL, b"words"))),
        ("rpm", rpm(&gzip(&cpio(members)))),
        ("seven_zip", seven_zip(None, members)),
        ("stream/xz", xz(&tar(members))),
        ("stream/gz", gzip(&tar(members))),
        ("stream/zstd", zstd(SHELL)),
        ("stream/bz2", bzip2(SHELL)),
        ("tar", tar(members)),
        (
            "upx/elf",
            packed_elf(shape(true, false), nrv_e, &text, Wiped::Nothing),
        ),
        (
            "upx/elf_wiped",
            packed_elf(shape(false, true), Method::Lzma, &text, Wiped::Marks),
        ),
        ("upx/pe", packed_pe(nrv_e, &text, true).1),
        ("upx/pe_wiped", packed_pe(nrv_b, &text, false).1),
        ("upx/code", [&[5], &nrv(Code::D, 4, &text)[..]].concat()),
        ("vba", module.clone()),
        ("zip", zip(members)),
    ]
}

/// The case files, from which mutation and fuzzing begin; `UPDATE_EXPECT=1` writes them anew.
#[test]
fn the_case_files_are_the_samples() {
    let cases = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    for (name, bytes) in all() {
        let path = match name.split_once('/') {
            Some((format, kind)) => cases.join(format).join(format!("{kind}.hex")),
            None => cases.join(name).join("sample.hex"),
        };
        let lines: Vec<String> = bytes
            .chunks(48)
            .map(|line| thymus_parsers::hex(line).into_string() + "\n")
            .collect();
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, lines.concat()).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap();
        assert_eq!(kept, lines.concat(), "{name}");
    }
}
