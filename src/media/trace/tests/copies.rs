//! Copies of every kind: none of them is ever taken for a host.

use proptest::prelude::*;

use super::*;

proptest! {
    /// However it is cut, and wherever our reset falls, a download from the first byte on is no host.
    #[test]
    fn a_sequential_download_never_reads_the_kickstart(
        cuts in prop::collection::vec(0..CD2_BYTES, 0..40),
        reset_before in 0usize..40,
        whole_until in 0usize..40,
        repeat in 0usize..40,
    ) {
        let mut cuts = cuts;
        cuts.extend([0, CD2_BYTES]);
        cuts.sort_unstable();
        let mut bench = TraceBench::new();
        for (n, cut) in cuts.windows(2).enumerate() {
            if n == reset_before.min(cuts.len() - 2) {
                bench.play(&Reset(10));
            }
            bench.read(20, Task, cut[0]..cut[1], n < whole_until);
            if n == repeat {
                bench.read(20, Task, cut[0]..cut[1], false);
            }
            prop_assert_eq!(bench.trace.seen(Task).ks_read_at, None);
        }
        prop_assert_eq!(bench.trace.seen(Task).mode, MediaMode::Prefetched);
    }

    /// Over several connections the kickstart may come early, but the word is taken back.
    #[test]
    fn a_parallel_download_does_not_keep_a_kickstart_read(connections in 2u64..9, order in any::<u64>()) {
        let mut bench = TraceBench::new();
        bench.play(&Reset(10));
        let part = CD2_BYTES.div_ceil(connections);
        let mut fronts: Vec<u64> = (0..connections).map(|n| n * part).collect();
        let mut state = order | 1;
        loop {
            let open: Vec<usize> = (0..fronts.len())
                .filter(|n| fronts[*n] < ((*n as u64 + 1) * part).min(CD2_BYTES))
                .collect();
            let Some(pick) = open.get((state >> 33) as usize % open.len().max(1)) else { break };
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let end = (fronts[*pick] + 128 * KIB).min((*pick as u64 + 1) * part).min(CD2_BYTES);
            bench.read(20, Task, fronts[*pick]..end, false);
            fronts[*pick] = end;
        }
        prop_assert_eq!(bench.trace.seen(Task).ks_read_at, None);
        prop_assert_eq!(bench.trace.seen(Task).mode, MediaMode::Prefetched);
    }
}
