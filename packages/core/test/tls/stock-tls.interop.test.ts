// Real TLS clients against a connection that was taken over: data both ways, and key updates of either side.
import { type ChildProcess, spawn } from 'node:child_process'
import { type AddressInfo, createServer as createTcpServer, type Server } from 'node:net'
import { createServer as createTlsServer, type TLSSocket } from 'node:tls'
import { encodeStreamFrame, FrameType } from '@twinbore/core'
import { nodeTlsCrypto, StreamChannel } from '@twinbore/core/io'
import { PacketBatch } from '@twinbore/core/packet'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { needs } from '../../../../tests/lab/needs.ts'
import { TlsTap, taps } from '../../src/io/tls-tap.ts'
import type { TlsRecordLayer } from '../../src/tls/tls-record-layer.ts'
import { makeAuthority } from '../login/support/certificates.ts'

const authority = makeAuthority()
const identity = authority.issue('gateway', { dnsNames: ['localhost'], addresses: ['127.0.0.1'], usage: 'serverAuth' })
afterAll(() => authority.remove())

/** One connection at a time: what the server end of it sees. */
interface Served {
  readonly channel: StreamChannel
  readonly layer: TlsRecordLayer
  readonly packets: string[]
  readonly lost: Promise<string>
  until(done: () => boolean): Promise<void>
}

let front: Server
let port: number
let onServed: (served: Served) => void = () => {}
const running: ChildProcess[] = []

beforeAll(async () => {
  const tlsServer = createTlsServer({ cert: identity.cert, key: identity.key })
  let arriving: TlsTap | undefined
  tlsServer.on('keylog', line => arriving?.secrets.take(line))
  tlsServer.on('secureConnection', socket => {
    taps.set(socket, arriving!)
    socket.on('error', () => {})
    // As CONNECT does: a line each way, then frames.
    socket.once('data', () => {
      socket.pause()
      socket.write('ready\n')
      serve(socket)
    })
  })
  front = createTcpServer(raw => {
    const tap: TlsTap = new TlsTap(raw, {
      role: 'server',
      aead: nodeTlsCrypto.aead,
      around: deliver => {
        arriving = tap
        try {
          return deliver()
        } finally {
          arriving = undefined
        }
      },
    })
    tlsServer.emit('connection', tap)
  })
  await new Promise<void>(resolve => front.listen(0, '127.0.0.1', resolve))
  port = (front.address() as AddressInfo).port
})
afterAll(() => front.close())
afterEach(() => {
  for (const child of running.splice(0)) child.kill('SIGKILL')
})

function serve(socket: TLSSocket): void {
  const packets: string[] = []
  const waiters: (() => void)[] = []
  let lose: (loss: string) => void
  const lost = new Promise<string>(resolve => {
    lose = resolve
  })
  const tap = taps.get(socket)!
  // The layer that the channel will use, to look at.
  let layer: TlsRecordLayer | undefined
  const takeOver = tap.takeOver.bind(tap)
  tap.takeOver = tls => {
    const taken = takeOver(tls)
    layer = taken?.layer
    return taken
  }
  const channel: StreamChannel = new StreamChannel(
    socket,
    {
      onPackets: batch => {
        for (let slot = 0; slot < batch.count; slot++) packets.push(Buffer.from(batch.packet(slot)).toString())
        for (const look of waiters) look()
      },
      onControl: () => {},
      onClosed: loss => lose(loss),
      onRecords: kind => {
        expect(kind).toBe('own')
        onServed({
          channel,
          layer: layer!,
          packets,
          lost,
          until: done =>
            new Promise(resolve => {
              const look = () => done() && resolve()
              waiters.push(look)
              look()
            }),
        })
      },
    },
    { batch: new PacketBatch() },
  )
  channel.start()
}

function start(program: string, args: readonly string[]) {
  const child = spawn(program, args, { stdio: 'pipe' })
  running.push(child)
  let output = ''
  const watchers: (() => void)[] = []
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      output += chunk.toString('latin1')
      for (const look of watchers) look()
    })
  }
  return {
    child,
    says: (pattern: RegExp) =>
      new Promise<void>((resolve, reject) => {
        const look = () => pattern.test(output) && resolve()
        watchers.push(look)
        child.on('exit', () => reject(new Error(`${program} ended before it said ${pattern}:\n${output}`)))
        look()
      }),
  }
}

const frame = (text: string) => encodeStreamFrame(FrameType.data, Buffer.from(text))
const packetOf = (text: string) => Buffer.from(text)

needs('openssl')('openssl s_client', () => {
  describe.each(['TLS_AES_128_GCM_SHA256', 'TLS_AES_256_GCM_SHA384', 'TLS_CHACHA20_POLY1305_SHA256'])(
    'openssl s_client, %s',
    suite => {
      test('data both ways, key updates of its own, asked for and not, and its goodbye', async () => {
        const connected = new Promise<Served>(resolve => {
          onServed = resolve
        })
        const args = [
          's_client',
          '-connect',
          `127.0.0.1:${port}`,
          '-CAfile',
          authority.caFile,
          '-tls1_3',
          '-ciphersuites',
          suite,
        ]
        const { child, says } = start('openssl', args)
        await says(/---\n[\s\S]*Verify return code: 0 \(ok\)[\s\S]*---\n/)
        child.stdin.write('hello\n')
        await says(/ready/)
        const { channel, layer, packets, lost, until } = await connected
        child.stdin.write(frame('first'))
        await until(() => packets.length === 1)
        // A line that begins with k or K is a command: new keys, without and with a request for ours.
        child.stdin.write('k\n')
        await says(/KEYUPDATE/)
        child.stdin.write(frame('second'))
        await until(() => packets.length === 2)
        expect(layer.keyUpdates).toBe(1)
        expect(layer.keyUpdateDue).toBe(false)
        child.stdin.write('K\n')
        await says(/KEYUPDATE[\s\S]*KEYUPDATE/)
        child.stdin.write(frame('third'))
        await until(() => packets.length === 3)
        expect(packets).toEqual(['first', 'second', 'third'])
        expect(layer.keyUpdates).toBe(2)
        expect(layer.keyUpdateDue).toBe(true)
        const answer = packetOf('from the gateway')
        channel.sendPacket(answer, 0, answer.length)
        await says(/from the gateway/)
        expect(layer.keyUpdates).toBe(3)
        child.stdin.write('Q\n')
        expect(await lost).toBe('ended')
      })
    },
  )
})

needs('gnutls-cli')('gnutls-cli', () => {
  test('data both ways, and keys that it renews in band', async () => {
    const connected = new Promise<Served>(resolve => {
      onServed = resolve
    })
    const args = ['--x509cafile', authority.caFile, '--inline-commands', '--priority', 'NORMAL:-VERS-ALL:+VERS-TLS1.3']
    const { child, says } = start('gnutls-cli', [...args, '-p', `${port}`, '127.0.0.1'])
    await says(/Simple Client Mode/)
    child.stdin.write('hello\n')
    await says(/ready/)
    const { channel, layer, packets, lost, until } = await connected
    child.stdin.write(frame('first\n'))
    await until(() => packets.length === 1)
    child.stdin.write('^rekey^\n')
    await says(/rekey|Rekey|key update/i)
    child.stdin.write(frame('second\n'))
    await until(() => packets.length === 2)
    expect(layer.keyUpdates).toBeGreaterThan(0)
    const answer = packetOf('from the gateway\n')
    channel.sendPacket(answer, 0, answer.length)
    await says(/from the gateway/)
    child.stdin.end()
    expect(await lost).toBe('ended')
  })
})
