// DTLS handshakes with a pre-shared key: what one costs our server in its machine alone, and, through sockets, a server of ours
// beside OpenSSL's. The client is ours for both, and makes one handshake after the other: s_server serves one peer at a time.
// It asks for no cookie then, so ours asks for none through sockets either.
import { randomBytes } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { type CipherSuiteName, DtlsAssociation, DtlsServer } from '@twinbore/dtls'
import { connect, nodeRandom, systemCrypto } from '@twinbore/dtls/io'
import { LabProcess } from '../tests/lab/lab-process.ts'
import { compareCandidates } from './harness/compare.ts'
import { hasAll } from './harness/needs.ts'
import { cpuOfTree } from './harness/processes.ts'
import { progress } from './harness/progress.ts'
import { Recorder } from './harness/result.ts'
import { quantile } from './harness/statistics.ts'
import { type Bench, sharedOptions, type Words } from './harness/words.ts'

interface Candidate {
  readonly name: 'twinbore' | 'openssl'
  readonly server: LabProcess
  readonly port: number
}

const suite: CipherSuiteName = 'TLS_PSK_WITH_AES_128_GCM_SHA256'
const key = randomBytes(32)
const ourServer = fileURLToPath(new URL('./load/dtls-server.ts', import.meta.url))

export const handshake: Bench = {
  name: 'handshake',
  summary: 'DTLS handshakes with a pre-shared key',
  options: {
    vs: sharedOptions.vs('openssl'),
    count: { type: 'string', value: 'N', help: 'handshakes of one measurement (300)' },
  },
  run,
}

async function run(words: Words): Promise<void> {
  const vs = words.list('vs', ['openssl'])
  const { rounds } = words
  const count = words.number('count', 300)
  if (vs.length > 0 && !hasAll('handshake', ['openssl'])) return
  const recorder = new Recorder()
  const candidates: Candidate[] = []
  try {
    for (const name of ['twinbore', ...vs] as const) {
      const candidate = name === 'twinbore' ? await startOurs() : await startOpenssl()
      candidates.push(candidate)
      await throughSockets(candidate, Math.min(count, 100))
    }
    inMemory(Math.min(count, 100))
    for (let round = 1; round <= rounds; round += 1) {
      const { server, client } = inMemory(count)
      recorder.add('twinbore', 'in memory: server', 'µs', 'less', server)
      recorder.add('twinbore', 'in memory: client', 'µs', 'less', client)
      progress(`round ${round} of ${rounds}: in memory, server ${server.toFixed(0)} µs, client ${client.toFixed(0)} µs`)
      for (const candidate of candidates) {
        const { perSecond, milliseconds, serverCpu } = await throughSockets(candidate, count)
        recorder.add(candidate.name, 'through sockets, one at a time', 'handshakes/s', 'more', perSecond)
        recorder.add(candidate.name, 'through sockets: time of one, p50', 'ms', 'less', quantile(milliseconds, 0.5))
        recorder.add(candidate.name, 'through sockets: time of one, p95', 'ms', 'less', quantile(milliseconds, 0.95))
        recorder.add(candidate.name, 'through sockets: server CPU', 'µs', 'less', serverCpu)
        progress(
          `round ${round} of ${rounds}: ${candidate.name} ${perSecond.toFixed(0)} handshakes/s, ` +
            `${serverCpu.toFixed(0)} µs of server CPU each`,
        )
      }
    }
  } finally {
    for (const { server } of candidates) await server.stop('SIGKILL')
  }
  compareCandidates(recorder.finish('handshake', { vs, rounds, count, suite }, words.json))
}

/** Mean microseconds that each machine worked for one handshake, the cookie's round trip included. */
function inMemory(count: number): { server: number; client: number } {
  const common = { crypto: systemCrypto, random: nodeRandom, cipherSuites: [suite] }
  const server = new DtlsServer({ ...common, findPsk: () => key })
  const spent = { server: 0, client: 0 }
  const timed = <T>(who: keyof typeof spent, act: () => T): T => {
    const from = performance.now()
    const result = act()
    spent[who] += performance.now() - from
    return result
  }
  for (let endpoint = 0; endpoint < count; endpoint += 1) {
    const client = new DtlsAssociation({ ...common, role: 'client', psk: { identity: 'bench', key } })
    let association = -1
    timed('client', () => client.start(0))
    for (let moved = true; moved; ) {
      moved = false
      for (let out = timed('client', () => client.poll()); out; out = timed('client', () => client.poll())) {
        if (out.type !== 'transmit') continue
        const { bytes } = out
        moved = true
        timed('server', () => server.handleDatagram(endpoint, bytes, 0))
      }
      for (let out = timed('server', () => server.poll()); out; out = timed('server', () => server.poll())) {
        if (out.type === 'established') association = out.association
        if (out.type !== 'transmit') continue
        const { bytes } = out
        moved = true
        timed('client', () => client.handleDatagram(bytes, 0))
      }
    }
    if (client.state !== 'established' || association === -1) throw new Error('a handshake failed')
    server.close(association, 0)
    while (server.poll());
  }
  return { server: (spent.server * 1000) / count, client: (spent.client * 1000) / count }
}

async function throughSockets(
  { name, server, port }: Candidate,
  count: number,
): Promise<{ perSecond: number; milliseconds: number[]; serverCpu: number }> {
  const milliseconds: number[] = []
  const cpuBefore = cpuOfTree(server.pid)
  const startedAt = performance.now()
  for (let n = 0; n < count; n += 1) {
    const from = performance.now()
    await new Promise<void>((resolve, reject) => {
      const client = connect({
        address: '127.0.0.1',
        port,
        cipherSuites: [suite],
        psk: { identity: 'bench', key },
        retransmitTimeoutMs: 200,
      })
      client.on('established', () => {
        milliseconds.push(performance.now() - from)
        resolve()
        client.close()
      })
      client.on('closed', ({ error }) => reject(new Error(`${name}: no handshake`, { cause: error })))
    })
  }
  const seconds = (performance.now() - startedAt) / 1000
  const serverCpu = (cpuOfTree(server.pid) - cpuBefore) / 1000 / count
  return { perSecond: count / seconds, milliseconds, serverCpu }
}

async function startOurs(): Promise<Candidate> {
  const words = ['--import', import.meta.resolve('tsx'), ourServer, key.toString('hex')]
  const server = new LabProcess(process.execPath, words)
  const [, port] = await server.waitFor(/^ready (\d+)$/m)
  return { name: 'twinbore', server, port: Number(port) }
}

async function startOpenssl(): Promise<Candidate> {
  const port = await freePort()
  const words = [
    ...['s_server', '-dtls1_2', '-accept', `127.0.0.1:${port}`, '-nocert', '-quiet'],
    ...['-psk_identity', 'bench', '-psk', key.toString('hex'), '-cipher', 'PSK-AES128-GCM-SHA256'],
  ]
  const server = new LabProcess('openssl', words, { keepInputOpen: true })
  return { name: 'openssl', server, port }
}

async function freePort(): Promise<number> {
  const socket = createSocket('udp4').bind(0, '127.0.0.1')
  await once(socket, 'listening')
  const { port } = socket.address()
  socket.close()
  return port
}
