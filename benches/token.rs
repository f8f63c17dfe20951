//! Impression tokens, on one core: `cargo bench -p clickledger-benches --bench token`.
#![allow(missing_docs, clippy::unwrap_used)] // criterion's macros; and all that a benchmark can do about an error is stop.

use std::hint::black_box;

use clickledger_core::domain::ids::{AdId, ImpressionId, PlacementId};
use clickledger_core::domain::token::{Impression, TokenKey, TokenKeyRing};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

const TOKENS: u32 = 1024;

fn token(c: &mut Criterion) {
    let old = TokenKeyRing::new(TokenKey::new(1, &[1; 32]), []);
    let ring = TokenKeyRing::new(TokenKey::new(2, &[2; 32]), [TokenKey::new(1, &[1; 32])]);
    let impression = |n: u32| Impression {
        impression_id: ImpressionId::new(1_767_312_000_000 + i64::from(n), [n as u8; 10]),
        ad_id: AdId(73_000 + u64::from(n)),
        placement_id: PlacementId(500),
        issued_at_s: 1_767_312_000,
    };
    let tokens = |ring: &TokenKeyRing| {
        (0..TOKENS)
            .map(|n| ring.issue(&impression(n)))
            .collect::<Vec<_>>()
    };
    let forged = |mut token: String| {
        let last = if token.ends_with('A') { 'B' } else { 'A' };
        token.pop();
        token.push(last);
        token
    };
    let forged: Vec<String> = tokens(&ring).into_iter().map(forged).collect();

    let mut group = c.benchmark_group("token");
    group.throughput(Throughput::Elements(1));
    for (name, tokens, good) in [
        ("verify", tokens(&ring), true),
        ("verify_previous_key", tokens(&old), true),
        ("refuse_forged", forged, false),
    ] {
        assert!(
            tokens.iter().all(|token| ring.verify(token).is_ok() == good),
            "{name}"
        );
        let mut tokens = tokens.iter().cycle();
        group.bench_function(name, |b| {
            b.iter_batched(
                || tokens.next().unwrap(),
                |token| black_box(ring.verify(token)).is_ok(),
                BatchSize::SmallInput,
            );
        });
    }
    let mut n = 0_u32;
    group.bench_function("issue", |b| {
        b.iter(|| {
            n = n.wrapping_add(1);
            ring.issue(black_box(&impression(n)))
        });
    });
    group.finish();
}

criterion_group!(benches, token);
criterion_main!(benches);
