;; The Internet checksum (RFC 1071) over packets of up to 65575 bytes, 32 bytes a turn. Little-endian words are added up;
;; the order of bytes is made good at the end (§2 B). `checksum-module.ts` holds the compiled bytes, which a test compares.
(module
  (memory (import "packets" "memory") 1)

  ;; Adds `length` bytes at `from` to a folded sum that is not inverted. A last odd byte counts as padded with zero.
  (func (export "sum") (param $from i32) (param $length i32) (param $sum i32) (result i32)
    (local $end i32) (local $lanes v128) (local $words v128)
    (local.set $end (i32.add (local.get $from) (i32.and (local.get $length) (i32.const -32))))
    (if (i32.lt_u (local.get $from) (local.get $end))
      (then
        (loop $next
          ;; A lane grows by at most 4 * 65535 a turn: it holds the longest packet without a carry.
          (local.set $words (v128.load (local.get $from)))
          (local.set $lanes
            (i32x4.add (local.get $lanes) (i32x4.extadd_pairwise_i16x8_u (local.get $words))))
          (local.set $words (v128.load offset=16 (local.get $from)))
          (local.set $lanes
            (i32x4.add (local.get $lanes) (i32x4.extadd_pairwise_i16x8_u (local.get $words))))
          (br_if $next
            (i32.lt_u (local.tee $from (i32.add (local.get $from) (i32.const 32))) (local.get $end))))))
    (call $finish
      (local.get $lanes)
      (call $tail (local.get $from) (i32.and (local.get $length) (i32.const 31)))
      (local.get $sum)))

  ;; The same for the bytes at `from`, which are copied to `to` on the way. The ranges must not overlap.
  (func (export "copyAndSum") (param $from i32) (param $to i32) (param $length i32) (param $sum i32) (result i32)
    (local $end i32) (local $lanes v128) (local $words v128)
    (local.set $end (i32.add (local.get $from) (i32.and (local.get $length) (i32.const -32))))
    (memory.copy
      (i32.add (local.get $to) (i32.and (local.get $length) (i32.const -32)))
      (local.get $end)
      (i32.and (local.get $length) (i32.const 31)))
    (if (i32.lt_u (local.get $from) (local.get $end))
      (then
        (loop $next
          (local.set $words (v128.load (local.get $from)))
          (v128.store (local.get $to) (local.get $words))
          (local.set $lanes
            (i32x4.add (local.get $lanes) (i32x4.extadd_pairwise_i16x8_u (local.get $words))))
          (local.set $words (v128.load offset=16 (local.get $from)))
          (v128.store offset=16 (local.get $to) (local.get $words))
          (local.set $lanes
            (i32x4.add (local.get $lanes) (i32x4.extadd_pairwise_i16x8_u (local.get $words))))
          (local.set $to (i32.add (local.get $to) (i32.const 32)))
          (br_if $next
            (i32.lt_u (local.tee $from (i32.add (local.get $from) (i32.const 32))) (local.get $end))))))
    (call $finish
      (local.get $lanes)
      (call $tail (local.get $from) (i32.and (local.get $length) (i32.const 31)))
      (local.get $sum)))

  ;; The total of fewer than 32 bytes.
  (func $tail (param $from i32) (param $length i32) (result i64)
    (local $total i64)
    (if (i32.and (local.get $length) (i32.const 16))
      (then
        (local.set $total
          (i64.add
            (i64.add (i64.load32_u (local.get $from)) (i64.load32_u offset=4 (local.get $from)))
            (i64.add (i64.load32_u offset=8 (local.get $from)) (i64.load32_u offset=12 (local.get $from)))))
        (local.set $from (i32.add (local.get $from) (i32.const 16)))))
    (if (i32.and (local.get $length) (i32.const 8))
      (then
        (local.set $total
          (i64.add
            (local.get $total)
            (i64.add (i64.load32_u (local.get $from)) (i64.load32_u offset=4 (local.get $from)))))
        (local.set $from (i32.add (local.get $from) (i32.const 8)))))
    (if (i32.and (local.get $length) (i32.const 4))
      (then
        (local.set $total (i64.add (local.get $total) (i64.load32_u (local.get $from))))
        (local.set $from (i32.add (local.get $from) (i32.const 4)))))
    (if (i32.and (local.get $length) (i32.const 2))
      (then
        (local.set $total (i64.add (local.get $total) (i64.load16_u (local.get $from))))
        (local.set $from (i32.add (local.get $from) (i32.const 2)))))
    (if (i32.and (local.get $length) (i32.const 1))
      (then (local.set $total (i64.add (local.get $total) (i64.load8_u (local.get $from))))))
    (local.get $total))

  ;; Folds everything to 16 bits in network order.
  (func $finish (param $lanes v128) (param $total i64) (param $sum i32) (result i32)
    (local $pairs v128) (local $word i32)
    (local.set $pairs
      (i64x2.add
        (i64x2.extend_low_i32x4_u (local.get $lanes))
        (i64x2.extend_high_i32x4_u (local.get $lanes))))
    (local.set $total
      (i64.add
        (local.get $total)
        (i64.add (i64x2.extract_lane 0 (local.get $pairs)) (i64x2.extract_lane 1 (local.get $pairs)))))
    ;; Below 2^37: two foldings bring it to 17 bits, one more to 16.
    (local.set $total
      (i64.add
        (i64.and (local.get $total) (i64.const 0xffff))
        (i64.shr_u (local.get $total) (i64.const 16))))
    (local.set $word (i32.wrap_i64 (local.get $total)))
    (local.set $word
      (i32.add (i32.and (local.get $word) (i32.const 0xffff)) (i32.shr_u (local.get $word) (i32.const 16))))
    (local.set $word
      (i32.add (i32.and (local.get $word) (i32.const 0xffff)) (i32.shr_u (local.get $word) (i32.const 16))))
    ;; Bytes in network order, then the sum it begins with.
    (local.set $word
      (i32.add
        (local.get $sum)
        (i32.or
          (i32.shr_u (local.get $word) (i32.const 8))
          (i32.shl (i32.and (local.get $word) (i32.const 0xff)) (i32.const 8)))))
    (local.set $word
      (i32.add (i32.and (local.get $word) (i32.const 0xffff)) (i32.shr_u (local.get $word) (i32.const 16))))
    (i32.add (i32.and (local.get $word) (i32.const 0xffff)) (i32.shr_u (local.get $word) (i32.const 16)))))
