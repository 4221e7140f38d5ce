import { DROP_REASON_COUNT, KeyedHash } from '@twinbore/core/packet'
import { BufferedRandom } from './buffered-random.ts'
import { FragmentCache } from './fragment-cache.ts'
import { IcmpErrors } from './icmp-errors.ts'
import { Identifications } from './identifications.ts'
import { Mappings } from './mappings.ts'
import type { PatConfig } from './options.ts'
import { Outputs } from './outputs.ts'
import { PacketFacts } from './packet-facts.ts'
import type { TranslatorMemory } from './translator-memory.ts'

/** Outputs that may wait for `poll()`. */
const maxOutputs = 16_384

/** What a translation function returns for a packet that it took: nothing is left to forward, nothing was dropped. */
export const TAKEN = -1

/** What both directions share. */
export interface Engine {
  readonly config: PatConfig
  readonly hash: KeyedHash
  readonly outputs: Outputs
  readonly mappings: Mappings
  readonly errors: IcmpErrors
  readonly identifications: Identifications
  readonly outboundFragments: FragmentCache
  readonly inboundFragments: FragmentCache
  readonly counts: Counts
  /** The packet that the ICMP error at hand carries. */
  readonly embedded: PacketFacts
}

/** Plain counters. */
export interface Counts {
  /** By `DropReason`. */
  readonly drops: Float64Array
  outbound: number
  inbound: number
  hairpinRefused: number
  hairpinned: number
  outOfWindow: number
}

export function createEngine(options: PatConfig, memory?: TranslatorMemory): Engine {
  const config = { ...options, random: new BufferedRandom(options.random) }
  const hash = new KeyedHash(config.random)
  const outputs = new Outputs(maxOutputs)
  return {
    config,
    hash,
    outputs,
    mappings: new Mappings(config, hash, outputs, memory),
    errors: new IcmpErrors(config, hash, outputs),
    identifications: new Identifications(config.random, hash),
    outboundFragments: new FragmentCache(config, hash),
    inboundFragments: new FragmentCache(config, hash),
    counts: {
      drops: new Float64Array(DROP_REASON_COUNT),
      outbound: 0,
      inbound: 0,
      hairpinRefused: 0,
      hairpinned: 0,
      outOfWindow: 0,
    },
    embedded: new PacketFacts(),
  }
}
