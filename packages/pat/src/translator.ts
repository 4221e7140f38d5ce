import { DropReason, type PacketBatch, Verdict } from '@twinbore/core/packet'
import type { AddressInput } from './address.ts'
import type { PatOutput, PatStats } from './events.ts'
import { type PatConfig, type PatOptions, resolvePatOptions } from './options.ts'

/** Translates between many inside endpoints and few outside addresses, packet by packet. A machine: no clock, no sockets. */
export class Translator {
  readonly config: PatConfig

  /** @throws TypeError | RangeError for wrong options */
  constructor(options: PatOptions) {
    this.config = resolvePatOptions(options)
  }

  /** A stage: packets of clients get an outside source. Slots that are not translated are dropped, held fragments diverted. */
  translateOutbound(batch: PacketBatch, _now: number): void {
    refuseAll(batch)
  }

  /** A stage: packets from outside get their client's inside address. `owners` are left alone. */
  translateInbound(batch: PacketBatch, _now: number): void {
    refuseAll(batch)
  }

  /** When `handleDeadline` wants to be called next. */
  get deadline(): number | undefined {
    return undefined
  }

  handleDeadline(_now: number): void {}

  /** Takes the next output. */
  poll(): PatOutput | undefined {
    return undefined
  }

  /** Forgets every mapping of an inside address, at once. Its ports rest for `portQuarantineMs`. Returns how many mappings went. */
  removeInside(_address: AddressInput, _now: number): number {
    return 0
  }

  stats(): PatStats {
    throw new TypeError('not before the tables are there')
  }
}

function refuseAll(batch: PacketBatch): void {
  for (let slot = 0; slot < batch.count; slot++) {
    if (batch.verdicts[slot] === Verdict.forward) batch.drop(slot, DropReason.noMapping)
  }
}
