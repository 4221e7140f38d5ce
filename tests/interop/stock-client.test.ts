// Debian's openconnect against our gateway: every way to log in, both channels, and files that cross the tunnel.
import { readFileSync } from 'node:fs'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { makeClientCertificate } from '../lab/certificates.ts'
import { Lab } from '../lab/lab.ts'
import { corporateAddress, corporateAddress6, gatewayAddress6 } from '../lab/lab-network.ts'
import type { LabProcess } from '../lab/lab-process.ts'
import { needs } from '../lab/needs.ts'
import { connectOpenconnect, endOpenconnect, startOpenconnect, tunnelAddresses } from '../lab/openconnect.ts'
import { crossings, ping, startFileServer, startIperfServer, stream } from '../lab/traffic.ts'
import { addUser, oneTimeCode, startGateway } from '../lab/twinbore.ts'

const fileBytes = 100_000_000

needs(
  'root',
  'tun',
  'ip',
  'openssl',
  'openconnect',
  'ping',
  'iperf3',
)('openconnect and our gateway', () => {
  let lab: Lab
  let gateway: LabProcess

  beforeAll(async () => {
    lab = await Lab.open()
    await startFileServer(lab.network)
    await startIperfServer(lab.network)
    const config = await lab.configure({
      config: {
        listen: { address: '::', port: 443 },
        auth: { users: 'users.yaml', clientCa: lab.certificates.authority.certificate },
      },
    })
    gateway = await startGateway(lab.network, config)
  })
  afterAll(async () => {
    await lab?.close()
  })

  describe('after a login by password', () => {
    let client: LabProcess
    beforeAll(async () => {
      client = await connectOpenconnect(lab.network, lab.alice)
    })
    afterAll(() => endOpenconnect(client))

    test('both channels are up, and the client holds an address of each family', () => {
      expect(client.output).toMatch(/Established DTLS connection/)
      expect(tunnelAddresses(client)).toEqual([
        expect.stringMatching(/^192\.168\.77\.\d+$/),
        expect.stringMatching(/^fd77:77::/),
      ])
    })

    test('the corporate host answers pings over IPv4 and IPv6, small and large', async () => {
      for (const address of [corporateAddress, corporateAddress6]) {
        expect(await ping(lab.network, address)).toMatchObject({ received: 3 })
        expect(await ping(lab.network, address, { sizeBytes: 1300 })).toMatchObject({ received: 3 })
      }
    })

    test.each(crossings)(
      '100 MB go %s over %s with equal SHA-256, from the gateway’s own address',
      async (direction, family, move, to, source) => {
        const result = await move(lab.network, fileBytes, to)
        expect(result).toMatchObject({ bytes: fileBytes, here: result.there, peer: source })
        report(`100 MB ${direction} over ${family}`, (result.bytes * 8) / result.seconds)
      },
    )

    test.each(['up', 'down'] as const)('iperf3 runs %s', async direction => {
      const { bitsPerSecond, bytes } = await stream(lab.network, direction)
      expect(bytes).toBeGreaterThan(1_000_000)
      report(`iperf3 ${direction}`, bitsPerSecond)
    })

    test('all of this went through the datagram channel', () => {
      expect(client.output).not.toMatch(/dead peer|DTLS connection attempt failed|Detected MTU of \d{1,3} /i)
    })
  })

  describe('logging in', () => {
    let client: LabProcess | undefined
    afterEach(async () => {
      if (client) await endOpenconnect(client)
      client = undefined
    })

    test('works by client certificate alone', async () => {
      const files = await makeClientCertificate(lab.workspace, lab.certificates.authority, 'carol')
      client = await connectOpenconnect(lab.network, { ...lab.server, ...files })
      expect(await ping(lab.network, corporateAddress)).toMatchObject({ received: 3 })
      await gateway.waitFor(/carol/)
    })

    test('works over IPv6, on both channels', async () => {
      client = await connectOpenconnect(lab.network, { ...lab.alice, url: `https://[${gatewayAddress6}]` })
      expect(await ping(lab.network, corporateAddress)).toMatchObject({ received: 3 })
    })

    test('asks for a one-time code as a second step', async () => {
      const printed = await addUser(lab.workspace, 'otto', 'secret', ['--otp'])
      const secret = /secret=([A-Z2-7]+)/.exec(printed)?.[1]
      expect(secret).toBeDefined()
      await reloaded(gateway)
      const code = oneTimeCode(secret!)
      client = await connectOpenconnect(lab.network, { ...lab.server, user: 'otto', passwords: ['secret', code] })
      expect(await ping(lab.network, corporateAddress)).toMatchObject({ received: 3 })
    })

    test('with a wrong one-time code gives no session', async () => {
      const printed = await addUser(lab.workspace, 'olga', 'secret', ['--otp'])
      const secret = /secret=([A-Z2-7]+)/.exec(printed)![1]!
      await reloaded(gateway)
      const wrong = String((Number(oneTimeCode(secret)) + 500_000) % 1_000_000).padStart(6, '0')
      const refused = await startOpenconnect(lab.network, { ...lab.server, user: 'olga', passwords: ['secret', wrong] })
        .finished
      expect(refused.code).not.toBe(0)
      expect(refused.output).not.toMatch(/Configured as|CSTP connected/)
    })

    test.each([
      ['a wrong password', 'alice', 'wrong'],
      ['an unknown user', 'nobody', 'secret'],
    ])('with %s gives a clear message and no session', async (_, user, password) => {
      const refused = await startOpenconnect(lab.network, { ...lab.server, user, passwords: [password] }).finished
      expect(refused.code).not.toBe(0)
      expect(refused.output).toMatch(/login failed/i)
      expect(refused.output).not.toMatch(/Configured as|CSTP connected/)
    })
  })

  test('500 split routes arrive and are installed', async () => {
    const include = Array.from({ length: 500 }, (_, n) => `10.${100 + (n >> 8)}.${n & 255}.0/24`)
    const config = await lab.configure({ config: { routes: { include } } })
    await gateway.stop()
    gateway = await startGateway(lab.network, config)
    const environmentFile = lab.workspace.path('routes.env')
    const client = await connectOpenconnect(lab.network, { ...lab.alice, environmentFile })
    const routes = await lab.network.mustRun('client', 'ip', ['-4', 'route', 'show', 'dev', 'vpn0'])
    const installed = routes.split('\n').map(line => line.split(' ')[0])
    expect(include.filter(prefix => !installed.includes(prefix))).toEqual([])
    expect(readFileSync(environmentFile, 'utf8')).toMatch(/^CISCO_SPLIT_INC=500$/m)
    await endOpenconnect(client)
  })
})

// The users file is read anew on SIGHUP.
async function reloaded(gateway: LabProcess): Promise<void> {
  const since = gateway.mark
  gateway.kill('SIGHUP')
  await gateway.waitFor(/reload/i, { since })
}

function report(what: string, bitsPerSecond: number): void {
  console.log(`${what}: ${(bitsPerSecond / 1e6).toFixed(0)} Mbit/s`)
}
