//! The invariants over the seeds of `fuzz/seeds`, and over seeds that are changed here and there. `SEED=n` repeats a
//! run; `make fuzz` looks further.

use std::fs;
use std::path::Path;

/// xorshift: numbers that are the same again for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap_or(0) % limit.max(1)
    }

    /// Changes, inserts, removes or doubles a few bytes.
    fn changed(&mut self, seed: &[u8]) -> Vec<u8> {
        let mut bytes = seed.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len() + 1);
            let end = bytes.len().min(at + 1 + self.below(16));
            let letters = b"\0\xff0:/.@-\"{}[],A1\n";
            let byte = letters[self.below(letters.len())];
            match self.below(4) {
                0 if at < bytes.len() => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                2 => drop(bytes.drain(at..end)),
                _ => {
                    let copy = bytes[at..end].to_vec();
                    bytes.splice(at..at, copy);
                }
            }
        }
        bytes
    }
}

fn over(target: &str, rounds: usize, check: fn(&[u8])) {
    let number = std::env::var("SEED").map_or_else(|_| u64::from(std::process::id()), |text| text.parse().unwrap());
    println!("SEED={number}");
    let mut random = Random(number | 1 << 32);
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(target);
    let mut files: Vec<_> = fs::read_dir(&top).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let seeds: Vec<_> = files.iter().map(|path| fs::read(path).unwrap()).collect();
    assert!(!seeds.is_empty(), "no seeds in {}", top.display());
    seeds.iter().for_each(|seed| check(seed));
    for _ in 0..rounds {
        let seed = &seeds[random.below(seeds.len())];
        check(&random.changed(seed));
    }
}

#[test]
fn references_mean_the_same_in_every_form() {
    over("reference", 20_000, invariants::reference);
}

#[test]
fn records_are_one_line_and_mean_the_same_again() {
    over("record", 10_000, invariants::record);
}

#[test]
fn a_manifest_that_opens_is_whole() {
    over("manifest", 200, invariants::manifest);
}

#[test]
fn a_layer_stays_inside_and_is_the_same_in_every_view() {
    over("layer", 500, invariants::layer);
}

#[test]
fn an_image_does_not_steer_the_host() {
    over("image_config", 10_000, invariants::image_config);
}

#[test]
fn credentials_stay_with_their_host() {
    over("docker_config", 1_000, invariants::docker_config);
}

#[test]
fn a_dockerfile_is_understood_or_refused() {
    over("dockerfile", 5_000, invariants::dockerfile);
}

#[test]
fn ignore_files_and_words_mean_one_thing() {
    over("ignore", 5_000, invariants::ignore);
}

#[test]
fn a_template_ends() {
    over("template", 5_000, invariants::template);
}
