// What one DTLS record costs in the dtls package with each way to protect it, and how much of that is the cipher: openssl's own
// figure for the same AEAD and size is measured in the same rounds.
import { execFileSync } from 'node:child_process'
import { PacketBatch, Verdict } from '@twinbore/core/packet'
import { type CipherSuiteName, type CryptoProvider, cipherSuites, DtlsAssociation } from '@twinbore/dtls'
import { nodeCrypto, nodeRandom, recordProtectionSupport, systemCrypto } from '@twinbore/dtls/io'
import { progress } from './harness/progress.ts'
import { Recorder } from './harness/result.ts'
import { quantile } from './harness/statistics.ts'

export interface RecordsBenchOptions {
  readonly rounds: number
  readonly json: string
}

const sizes = [64, 1400]
const batchesPerRound = 400
const slots = 64

const providers: readonly (readonly [name: string, crypto: CryptoProvider])[] = [
  ['system', systemCrypto],
  ['node', nodeCrypto],
]

export async function records({ rounds, json }: RecordsBenchOptions): Promise<void> {
  const recorder = new Recorder()
  for (let round = 1; round <= rounds; round += 1) {
    for (const suite of cipherSuites) {
      for (const size of sizes) {
        const speed = opensslNanoseconds(suite.aead, size)
        const medians: string[] = []
        for (const [name, crypto] of providers) {
          const { seal, open } = measure(suite.name, size, crypto)
          for (const [work, samples] of [
            ['seal', seal],
            ['open', open],
          ] as const) {
            const label = `${suite.name} ${work} ${size} B`
            recorder.add(`dtls ${name}`, label, 'ns/record', 'less', quantile(samples, 0.5))
            recorder.add(`dtls ${name} p99`, label, 'ns/record', 'less', quantile(samples, 0.99))
          }
          medians.push(`${name} seal ${quantile(seal, 0.5).toFixed(0)} open ${quantile(open, 0.5).toFixed(0)}`)
        }
        for (const work of ['seal', 'open']) {
          recorder.add('openssl speed', `${suite.name} ${work} ${size} B`, 'ns/record', 'less', speed)
        }
        progress(
          `round ${round} of ${rounds}: ${suite.name} ${size} B: ${medians.join(', ')}, ` +
            `openssl ${speed.toFixed(0)} ns/record`,
        )
      }
    }
  }
  recorder.finish('records', { rounds, batchesPerRound, slots, system: recordProtectionSupport().kind }, json)
}

// Nanoseconds a record, one sample per batch.
function measure(suite: CipherSuiteName, size: number, crypto: CryptoProvider): { seal: number[]; open: number[] } {
  const [client, server] = establish(suite, crypto)
  const batch = new PacketBatch({ capacity: slots })
  const plaintext = nodeRandomBytes(size)
  const [seal, open]: [number[], number[]] = [[], []]
  for (let n = -20; n < batchesPerRound; n += 1) {
    batch.reset()
    for (let slot = 0; slot < slots; slot += 1) batch.push(plaintext, 0)
    const sealedFrom = performance.now()
    client.sealDatagrams(batch, 0)
    const openedFrom = performance.now()
    server.openDatagrams(batch, 0)
    const end = performance.now()
    for (let slot = 0; slot < slots; slot += 1) {
      if (batch.verdicts[slot] !== Verdict.forward || batch.lengths[slot] !== size) throw new Error('a record was lost')
    }
    // The first batches only warm the code up.
    if (n < 0) continue
    seal.push(((openedFrom - sealedFrom) * 1e6) / slots)
    open.push(((end - openedFrom) * 1e6) / slots)
  }
  return { seal, open }
}

function establish(suite: CipherSuiteName, crypto: CryptoProvider): [DtlsAssociation, DtlsAssociation] {
  const key = nodeRandomBytes(32)
  const common = { crypto, random: nodeRandom, cipherSuites: [suite] }
  const client = new DtlsAssociation({ ...common, role: 'client', psk: { identity: 'bench', key } })
  const server = new DtlsAssociation({ ...common, role: 'server', findPsk: () => key })
  server.start(0)
  client.start(0)
  for (let moved = true; moved; ) {
    moved = false
    for (const [from, to] of [
      [client, server],
      [server, client],
    ] as const) {
      for (let out = from.poll(); out !== undefined; out = from.poll()) {
        if (out.type !== 'transmit') continue
        to.handleDatagram(out.bytes, 0)
        moved = true
      }
    }
  }
  if (client.state !== 'established' || server.state !== 'established') throw new Error('no handshake')
  return [client, server]
}

function opensslNanoseconds(aead: string, size: number): number {
  const args = ['speed', '-mr', '-seconds', '1', '-bytes', `${size}`, '-aead', '-evp', aead]
  const output = execFileSync('openssl', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
  const bytesPerSecond = Number(/^\+F:\d+:[^:]+:([\d.]+)/m.exec(output)?.[1])
  return (size / bytesPerSecond) * 1e9
}

function nodeRandomBytes(count: number): Uint8Array {
  const bytes = new Uint8Array(count)
  nodeRandom.fill(bytes)
  return bytes
}
