import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import {
  createServer,
  request as httpRequest,
  type IncomingMessage,
  type RequestListener,
  type Server,
} from 'node:http'
import { createServer as createTlsServer, get as httpsGet, request as httpsRequest } from 'node:https'
import { buffer, text } from 'node:stream/consumers'
import { IpAddress } from '@twinbore/core/address'
import type { FlowDuplex } from '@twinbore/tun/io'
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { NetworkWorld, testCertificate } from '../../support/network-world.ts'
import { zone } from '../../support/stack-servers.ts'

const host = 'intranet.corp.example'
const address4 = '198.51.100.10'
const address6 = '2001:db8::10'
let identity: Awaited<ReturnType<typeof testCertificate>>
let world: NetworkWorld
beforeAll(async () => {
  identity = await testCertificate()
})
beforeEach(() => {
  world = new NetworkWorld({ tls: { ca: identity.ca } })
  world.servers.onQuestion = zone({ [host]: [address4, address6], 'other.corp.example': [address4] })
})
afterEach(() => world.close())

function serve(handle: RequestListener): void {
  const plain: Server = createServer(handle)
  const secure = createTlsServer({ cert: identity.cert, key: identity.key }, handle)
  world.servers.tcp.set('80', socket => plain.emit('connection', socket))
  world.servers.tcp.set('443', socket => secure.emit('connection', socket))
}

function failure(socket: FlowDuplex): Promise<NodeJS.ErrnoException> {
  return new Promise(resolve => socket.once('error', resolve))
}

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')

describe('connect', () => {
  test('looks the name up and connects by IPv6 first; the duplex is there at once', async () => {
    world.servers.tcp.set('7', socket => socket.pipe(socket))
    const socket = world.network.connect({ host, port: 7 })
    expect(socket.connecting).toBe(true)
    socket.end('hello')
    expect(await text(socket)).toBe('hello')
    expect(socket).toMatchObject({ remoteAddress: address6, remotePort: 7, localAddress: 'fd77::2' })
    expect(world.servers.dialled).toEqual([address6])
  })

  test('falls back to IPv4 where IPv6 is dark, within a moment, and gives the first attempt up', async () => {
    world.servers.tcp.set('7', socket => socket.pipe(socket))
    world.servers.dark.add(address6)
    const started = performance.now()
    const socket = world.network.connect({ host, port: 7 })
    await once(socket, 'connect')
    expect(performance.now() - started).toBeGreaterThan(200)
    expect(socket.remoteAddress).toBe(address4)
    expect(tcpFlows()).toBe(1)
    socket.destroy()
  })

  test('takes the family and the address that it is told', async () => {
    world.servers.tcp.set('7', socket => socket.end('.'))
    for (const options of [{ host, family: 4 } as const, { host: address4 }]) {
      const socket = world.network.connect({ ...options, port: 7 })
      await once(socket, 'connect')
      expect(socket.remoteAddress).toBe(address4)
      socket.destroy()
    }
  })

  test.each([
    [host, 9, 'ECONNREFUSED'],
    [address4, 9, 'ECONNREFUSED'],
    ['nowhere.corp.example', 80, 'ENOTFOUND'],
    ['localhost', 80, 'ENOTFOUND'],
  ])('to %s, port %i, fails with %s', async (target, port, code) => {
    const socket = world.network.connect({ host: target, port })
    const error = await failure(socket)
    expect(error.code).toBe(code)
    if (code === 'ECONNREFUSED') expect(error).toMatchObject({ syscall: 'connect', port })
    expect(tcpFlows()).toBe(0)
  })

  test('to a family that the tunnel has no address of fails with ENETUNREACH', async () => {
    world.network.update({ addresses: [IpAddress.of('10.77.0.2')], nameServers: [], searchDomains: [] })
    const error = await failure(world.network.connect({ host: address6, port: 80 }))
    expect(error).toMatchObject({ code: 'ENETUNREACH', address: address6, port: 80 })
  })

  test('where nobody answers fails with ETIMEDOUT after the time it was given', async () => {
    world.servers.dark.add(address4)
    const error = await failure(world.network.connect({ host: address4, port: 80, timeoutMs: 100 }))
    expect(error).toMatchObject({ code: 'ETIMEDOUT', syscall: 'connect' })
    expect(tcpFlows()).toBe(0)
  })

  test('is ended by its signal, before and after it is established', async () => {
    world.servers.tcp.set('7', socket => socket.resume())
    const reason = new Error('enough')
    expect(await failure(world.network.connect({ host, port: 7, signal: AbortSignal.abort(reason) }))).toBe(reason)
    for (const isEstablished of [false, true]) {
      const abort = new AbortController()
      const socket = world.network.connect({ host, port: 7, signal: abort.signal })
      const failed = failure(socket)
      if (isEstablished) await once(socket, 'connect')
      abort.abort(reason)
      expect(await failed).toBe(reason)
    }
  })

  test('refuses ports and hosts that are none', () => {
    for (const port of [0, 65_536, 1.5, Number.NaN]) {
      expect(() => world.network.connect({ host, port })).toThrow(RangeError)
    }
    expect(() => world.network.connect({ host: '', port: 1 })).toThrow(TypeError)
  })
})

describe('fetch', () => {
  test.each(['http', 'https'])('of an %s page gives status, headers and body', async scheme => {
    const seen: (string | undefined)[] = []
    serve((request, response) => {
      seen.push(request.headers.host)
      response.setHeader('x-method', request.method!)
      response.writeHead(203).end('the page')
    })
    const response = await world.network.fetch(`${scheme}://${host}/a?b=c`)
    expect(response).toMatchObject({ status: 203, ok: true, redirected: false, url: `${scheme}://${host}/a?b=c` })
    expect(response.headers.get('x-method')).toBe('GET')
    expect(await response.text()).toBe('the page')
    expect(seen).toEqual([host])
  })

  test('keeps connections for the next request', async () => {
    serve((_, response) => response.end('.'))
    for (let i = 0; i < 3; i++) {
      await (await world.network.fetch(`https://${host}/`)).text()
      // A connection is free again in the turn after its answer.
      await new Promise(setImmediate)
    }
    expect(world.servers.dialled).toHaveLength(1)
  })

  test('trusts only whom it is told to, and only for the right name', async () => {
    serve((_, response) => response.end('.'))
    const codeOf = (url: string, tls?: object) =>
      world.network.fetch(url, tls ? { tls } : {}).then(
        () => undefined,
        (error: Error) => (error.cause as NodeJS.ErrnoException).code,
      )
    expect(await codeOf(`https://${host}/`, {})).toMatch(/SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_VERIFY_LEAF_SIGNATURE/)
    expect(await codeOf('https://other.corp.example/')).toBe('ERR_TLS_CERT_ALTNAME_INVALID')
    expect(await codeOf('https://other.corp.example/', { ca: identity.ca, servername: host })).toBeUndefined()
    expect(await codeOf(`https://${host}/`)).toBeUndefined()
  })

  test('sends the server name and follows redirects from http to https', async () => {
    serve((request, response) => {
      if (request.url === '/') response.writeHead(302, { location: `https://${host}/secure` }).end()
      else response.end((request.socket as unknown as { servername: string }).servername)
    })
    const response = await world.network.fetch(`http://${host}/`)
    expect(response).toMatchObject({ redirected: true, url: `https://${host}/secure` })
    expect(await response.text()).toBe(host)
    const manual = await world.network.fetch(`http://${host}/`, { redirect: 'manual' })
    expect(manual.status).toBe(302)
  })

  test('streams 10 MB both ways with equal hashes', { timeout: 30_000 }, async () => {
    serve((request, response) => request.pipe(response))
    const sent = randomBytes(10_000_000)
    const body = new ReadableStream({
      start(controller) {
        for (let at = 0; at < sent.length; at += 100_000) controller.enqueue(sent.subarray(at, at + 100_000))
        controller.close()
      },
    })
    const response = await world.network.fetch(`https://${host}/`, {
      method: 'POST',
      body,
      duplex: 'half',
    } as RequestInit)
    const hash = createHash('sha256')
    for await (const part of response.body!) hash.update(part)
    expect(hash.digest('hex')).toBe(sha256(sent))
  })

  test('takes the bodies, requests and headers of Node.js', async () => {
    serve(async (request, response) => {
      response.end(
        JSON.stringify({
          type: request.headers['content-type'],
          extra: request.headers['x-extra'],
          body: (await buffer(request)).toString(),
        }),
      )
    })
    const url = `http://${host}/`
    const form = new FormData()
    form.set('field', 'value')
    form.set('file', new Blob(['content']), 'name.txt')
    const sent = (await (await world.network.fetch(url, { method: 'POST', body: form })).json()) as Record<
      string,
      string
    >
    expect(sent.type).toMatch(/^multipart\/form-data; ?boundary=/)
    expect(sent.body).toContain('name="field"')
    expect(sent.body).toContain('content')
    const parameters = new URLSearchParams({ a: 'b c' })
    expect(await (await world.network.fetch(url, { method: 'POST', body: parameters })).json()).toMatchObject({
      type: 'application/x-www-form-urlencoded;charset=UTF-8',
      body: 'a=b+c',
    })
    const request = new Request(url, { method: 'PUT', body: 'text', headers: new Headers({ 'x-extra': 'yes' }) })
    expect(await (await world.network.fetch(request)).json()).toMatchObject({ extra: 'yes', body: 'text' })
  })

  test('is aborted before the answer and in the middle of the body, and the connection goes', async () => {
    let answers = 0
    serve((_, response) => {
      response.on('error', () => {})
      if (answers++ > 0) response.write('the first half')
    })
    for (const part of ['head', 'body']) {
      const abort = new AbortController()
      const fetched = world.network.fetch(`http://${host}/`, { signal: abort.signal })
      if (part === 'head') {
        while (answers === 0) await new Promise(setImmediate)
        abort.abort()
        await expect(fetched).rejects.toMatchObject({ name: 'AbortError' })
      } else {
        const reading = (await fetched).text()
        abort.abort()
        await expect(reading).rejects.toMatchObject({ name: 'AbortError' })
      }
    }
    while (tcpFlows() > 0) await new Promise(setImmediate)
  })

  test('of a page that is cut short fails, and never looks complete', async () => {
    let cut: () => void = () => {}
    serve((request, response) => {
      response.writeHead(200, { connection: 'close' })
      response.write('half of ')
      cut = () => (request.socket as unknown as FlowDuplex).resetAndDestroy()
    })
    const response = await world.network.fetch(`http://${host}/`)
    cut()
    await expect(response.text()).rejects.toThrow()
  })

  test.each([
    ['http://nowhere.corp.example/', 'ENOTFOUND'],
    [`http://${host}:4444/`, 'ECONNREFUSED'],
    [`https://${host}:4444/`, 'ECONNREFUSED'],
    [`http://[${address6}]:4444/`, 'ECONNREFUSED'],
  ])('of %s fails, and the cause says %s', async (url, code) => {
    await expect(world.network.fetch(url)).rejects.toMatchObject({ cause: { code } })
  })

  test('reaches literal addresses of both families', async () => {
    serve((_, response) => response.end('here'))
    for (const url of [`http://${address4}/`, `http://[${address6}]/`]) {
      expect(await (await world.network.fetch(url)).text()).toBe('here')
    }
    expect(world.servers.dialled).toEqual([address4, address6])
  })
})

describe('agent', () => {
  const answered = (request: ReturnType<typeof httpRequest>) =>
    new Promise<string>((resolve, reject) => {
      request.on('response', (response: IncomingMessage) => text(response).then(resolve, reject)).on('error', reject)
      request.end()
    })

  test('carries requests of node:http and node:https, and keeps their connections', async () => {
    serve((request, response) => response.end(`${request.headers.host} ${request.url}`))
    const { agent } = world.network
    for (let i = 0; i < 2; i++) {
      expect(await answered(httpRequest(`http://${host}/${i}`, { agent: agent.http }))).toBe(`${host} /${i}`)
      expect(await answered(httpsRequest(`https://${host}/${i}`, { agent: agent.https }))).toBe(`${host} /${i}`)
    }
    expect(world.servers.dialled).toHaveLength(2)
  })

  test('verifies with the authority of the tunnel or of the request', async () => {
    serve((_, response) => response.end('.'))
    const { https } = world.network.agent
    await expect(answered(httpsGet('https://other.corp.example/', { agent: https }))).rejects.toMatchObject({
      code: 'ERR_TLS_CERT_ALTNAME_INVALID',
    })
    world.close()
    world = new NetworkWorld()
    world.servers.onQuestion = zone({ [host]: [address4] })
    serve((_, response) => response.end('.'))
    const agent = world.network.agent.https
    await expect(answered(httpsGet(`https://${host}/`, { agent }))).rejects.toMatchObject({
      code: expect.stringMatching(/CERT|SIGNATURE/),
    })
    expect(await answered(httpsGet(`https://${host}/`, { agent, ca: identity.ca }))).toBe('.')
  })

  test.each(['http', 'https'] as const)('tells a %s request why there is no connection', async scheme => {
    const send = scheme === 'http' ? httpRequest : httpsRequest
    const request = send(`${scheme}://${host}:4444/`, { agent: world.network.agent[scheme] })
    await expect(answered(request)).rejects.toMatchObject({ code: 'ECONNREFUSED' })
  })
})

describe('a UDP socket', () => {
  test('has the address of the tunnel and reaches a server', async () => {
    for (const [family, remote] of [
      [4, address4],
      [6, address6],
    ] as const) {
      const socket = world.network.createUdpSocket({ family })
      socket.send(Buffer.from('ping'), { address: remote, port: 7 })
      const [bytes, from] = await once(socket, 'message')
      expect(Buffer.from(bytes).toString()).toBe('ping')
      expect(from).toEqual({ address: remote, port: 7 })
      socket.close()
    }
    expect(world.network.createUdpSocket({ port: 5353 })).toMatchObject({ localAddress: '10.77.0.2', localPort: 5353 })
  })
})

describe('the tunnel', () => {
  test('ends everything with its reason', async () => {
    world.servers.tcp.set('7', socket => socket.resume())
    serve(() => {})
    const open = world.network.connect({ host, port: 7 })
    await once(open, 'connect')
    const connecting = world.network.connect({ host, port: 7 })
    const waiting = world.network.fetch(`http://${host}/`)
    const failures = [failure(open), failure(connecting)]
    const reason = new Error('the gateway is gone')
    world.interface.close(reason)
    expect(await Promise.all(failures)).toEqual([reason, reason])
    await expect(waiting).rejects.toMatchObject({ cause: reason })
    expect(await failure(world.network.connect({ host, port: 7 }))).toBe(reason)
    await expect(world.network.fetch(`http://${host}/`)).rejects.toMatchObject({ cause: reason })
    expect(() => world.network.createUdpSocket()).toThrow(reason)
  })

  test('changes its MTU, also for connections that are open', async () => {
    let longest = 0
    world.passes = packet => {
      longest = Math.max(longest, packet.length)
      return true
    }
    world.servers.tcp.set('7', socket => socket.pipe(socket))
    const socket = world.network.connect({ host: address4, port: 7 })
    const send = async () => {
      longest = 0
      let read = 0
      socket.write(new Uint8Array(50_000))
      while (read < 50_000) read += (await once(socket, 'data'))[0].length
      return longest
    }
    expect(await send()).toBe(1400)
    world.interface.update!(world.granted, 1000)
    let outbound = 0
    world.passes = packet => {
      if (packet[12] === 10) outbound = Math.max(outbound, packet.length)
      return true
    }
    await send()
    expect(outbound).toBeLessThanOrEqual(1000)
    expect(outbound).toBeGreaterThan(900)
    socket.destroy()
  })

  test('gets other addresses: what is open ends, and what follows has them', async () => {
    world.servers.tcp.set('7', socket => socket.pipe(socket))
    const before = world.network.connect({ host: address4, port: 7 })
    await once(before, 'connect')
    const failed = failure(before)
    const netmask = IpAddress.of('255.255.255.0')
    world.interface.update!({ ...world.granted, ipv4: { address: IpAddress.of('10.77.0.99'), netmask } }, 1400)
    expect(await failed).toMatchObject({ code: 'ERR_GATEWAY_HOST', message: /other addresses/ })
    const after = world.network.connect({ host: address4, port: 7 })
    after.end('still here')
    expect(await text(after)).toBe('still here')
    expect(after.localAddress).toBe('10.77.0.99')
  })
})

/** Connections that the client's stack has. */
function tcpFlows(): number {
  const { host: inside } = world.network as unknown as { host: { stack: { stats(): { tcpFlows: number } } } }
  return inside.stack.stats().tcpFlows
}
