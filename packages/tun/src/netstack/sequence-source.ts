import type { NetStackConfig } from './options.ts'
import { InitialSequences } from './tcp/initial-sequence.ts'
import type { InitialSequenceSource } from './tcp/tcp-config.ts'

/** Initial sequence numbers by keyed hash and clock, or without a hash by chance. */
export function initialSequences(config: NetStackConfig): InitialSequenceSource {
  const { keyedHash, random } = config
  if (keyedHash) return new InitialSequences(keyedHash)
  // One offset for all: PAWS needs timestamps of the same ends to rise (RFC 7323 §5.3).
  const offset = random.uint32()
  return { sequenceNumber: () => random.uint32(), timestampOffset: () => offset }
}
