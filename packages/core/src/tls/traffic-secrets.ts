import type { RecordCutter } from './record-cutter.ts'
import { fragmentBytesAt, RECORD_HEADER_BYTES } from './record-format.ts'
import type { TlsCrypto } from './tls-crypto.ts'
import { tls12TrafficKeys, wipe } from './tls-key-schedule.ts'
import { type DirectionState, protectionOf } from './tls-record-layer.ts'
import type { TlsSuite } from './tls-suite.ts'

/** The secrets of one connection, as a key log tells them. Secret: `wipe` them. */
export class TrafficSecrets {
  private client: Uint8Array | undefined
  private server: Uint8Array | undefined
  private master: Uint8Array | undefined

  /** Takes a line of a key log (a label, the client's random and a secret, in hex) and wipes it. Other labels are passed over. */
  take(line: Uint8Array): void {
    const [label, random, secret] = asciiWords(line)
    wipe(line)
    if (secret === undefined || random?.length !== 64) return
    if (label === 'CLIENT_TRAFFIC_SECRET_0') this.client = fromHex(secret)
    else if (label === 'SERVER_TRAFFIC_SECRET_0') this.server = fromHex(secret)
    else if (label === 'CLIENT_RANDOM') this.master = fromHex(secret)
  }

  /**
   * The state of both directions, given what passed in each: `undefined` when a secret is missing, or when the last record of
   * a direction does not open under it.
   */
  states(
    suite: TlsSuite,
    crypto: TlsCrypto,
    fromClient: RecordCutter,
    fromServer: RecordCutter,
  ): { readonly client: DirectionState; readonly server: DirectionState } | undefined {
    const keyed = this.keyed(suite, crypto, fromClient, fromServer)
    if (!keyed) return undefined
    const client = sequenced(suite, crypto, keyed.client, fromClient)
    const server = client && sequenced(suite, crypto, keyed.server, fromServer)
    return client && server && { client, server }
  }

  wipe(): void {
    wipe(this.client, this.server, this.master)
    this.client = undefined
    this.server = undefined
    this.master = undefined
  }

  private keyed(suite: TlsSuite, crypto: TlsCrypto, fromClient: RecordCutter, fromServer: RecordCutter) {
    const { client, server, master } = this
    if (suite.version === 'TLSv1.3') {
      return client && server && { client: { secret: client }, server: { secret: server } }
    }
    const { helloRandom: clientRandom } = fromClient
    const { helloRandom: serverRandom } = fromServer
    if (!master || !clientRandom || !serverRandom) return undefined
    const keys = tls12TrafficKeys(crypto.hmac, suite, master, clientRandom, serverRandom)
    return { client: { keys: keys.client }, server: { keys: keys.server } }
  }
}

/** The records that a handshake protects with keys of its own in TLS 1.3 are few. */
const MAX_TRIALS = 64

type Keyed = { readonly secret: Uint8Array } | Pick<Extract<DirectionState, { keys: unknown }>, 'keys'>

/** Finds the sequence number of the last record by opening it, and so that of the next one. */
function sequenced(suite: TlsSuite, crypto: TlsCrypto, keyed: Keyed, cutter: RecordCutter): DirectionState | undefined {
  const { lastRecord } = cutter
  if (cutter.foreign || !lastRecord) return undefined
  const isTls13 = suite.version === 'TLSv1.3'
  const passed = isTls13 ? cutter.applicationRecords : cutter.recordsAfterChange
  const protection = protectionOf({ suite, crypto }, { ...keyed, sequence: 0 }, 'open')
  const scratch = new Uint8Array(fragmentBytesAt(lastRecord, 0) + RECORD_HEADER_BYTES)
  try {
    for (let sequence = passed - 1; sequence >= Math.max(0, passed - MAX_TRIALS); sequence--) {
      protection.sequence = sequence
      if (protection.open(lastRecord, 0, scratch, 0) !== -1) return { ...keyed, sequence: sequence + 1 }
    }
    return undefined
  } finally {
    wipe(scratch)
    protection.dispose()
  }
}

function asciiWords(line: Uint8Array): string[] {
  return String.fromCharCode(...line.subarray(0, 512))
    .trim()
    .split(' ')
}

function fromHex(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length >> 1)
  for (let i = 0; i < bytes.length; i++) bytes[i] = Number.parseInt(text.slice(2 * i, 2 * i + 2), 16)
  return bytes
}
