import { createHash, randomBytes } from 'node:crypto'
import { networkInterfaces } from 'node:os'
import type { ActiveChannel, ChannelKind, SessionStats } from '@twinbore/core'
import { IpAddress, Prefix } from '@twinbore/core/address'
import { openDatagramSocket } from '@twinbore/tun/io'
import { stackInterface } from '../../client/io/stack-interface.ts'
import { TunnelClient } from '../../client/io/tunnel-client.ts'
import { gatewayAddress } from '../../control-plane/grant-parameters.ts'
import { createGateway } from '../../control-plane/io/create-gateway.ts'
import type { Gateway } from '../../control-plane/io/gateway.ts'
import type { SessionFacts } from '../../control-plane/session-facts.ts'
import { GatewayError } from '../../errors.ts'
import type { Logger } from '../../log/logger.ts'
import { UdpCut } from '../cuttable-socket.ts'
import { channelFigures, duration, line, sightLines } from '../demo-report.ts'
import { within } from './deadline.ts'
import type { DemoSetup } from './demo-setup.ts'
import { GREETING, Intranet } from './intranet.ts'
import { IntranetClient } from './intranet-client.ts'

export interface ShowOptions {
  readonly setup: DemoSetup
  /** Where the gateway listens. */
  readonly address: string
  readonly port: number
  readonly print: (text: string) => void
  readonly log: Logger
}

/** The file that goes there and back on each channel. */
const FILE_BYTES = 8_000_000
const WARM_UP_BYTES = 2_000_000
const ROUND_TRIPS = 20
const stepSeconds = 10

/** The show: an intranet, a gateway, a client inside this process, traffic by both channels. */
export class Show {
  readonly stopped: Promise<Error | undefined>
  url = ''
  pin = ''
  /** Where clients find the intranet. */
  readonly intranetAddress: string
  /** Whether everything was shown. */
  played = false
  private readonly options: ShowOptions
  private readonly abort = new AbortController()
  private readonly undo: (() => Promise<void> | void)[] = []
  private readonly pool = choosePool()
  private gateway: Gateway | undefined
  private closing: Promise<void> | undefined
  private resolveStopped!: (failure: Error | undefined) => void

  constructor(options: ShowOptions) {
    this.options = options
    this.intranetAddress = gatewayAddress(Prefix.of(this.pool)).toString()
    this.stopped = new Promise(resolve => {
      this.resolveStopped = resolve
    })
  }

  /** Plays it all; the gateway stays up. When something fails, everything is taken back before it throws. */
  async start(): Promise<void> {
    try {
      await this.play()
      this.played = true
    } catch (error) {
      await this.stop()
      throw error
    }
  }

  async stop({ immediately = false }: { readonly immediately?: boolean } = {}): Promise<void> {
    this.abort.abort()
    if (immediately) await this.gateway?.stop({ immediately })
    this.closing ??= this.close()
    await this.closing
  }

  /** From now on, tells who comes and goes. */
  announceSessions(): void {
    const { print } = this.options
    const who = ({ identity, ipv4 }: SessionFacts) => `${identity.username} (${ipv4})`
    this.gateway
      ?.on('session-established', ({ session }) => print(`${who(session)} connected from ${session.remoteAddress}\n`))
      .on('channel-changed', ({ session, from, to }) => {
        if (from !== 'none' && to !== 'none') print(`${who(session)} uses the ${to} channel\n`)
      })
      .on('session-closed', ({ session, reason }) => {
        const { bytesOutbound, bytesInbound } = session
        print(`${who(session)} left: ${reason}, ${bytesOutbound} bytes out, ${bytesInbound} bytes in\n`)
      })
  }

  private async play(): Promise<void> {
    const { print } = this.options
    const { signal } = this.abort

    const intranet = await Intranet.open()
    this.undo.push(() => intranet.close())
    const url = `http://${this.intranetAddress}`
    print(line('intranet', `a web server on ${intranet.address} port ${intranet.port}; clients find it at ${url}/`))

    const gateway = await this.openGateway(intranet)
    print(line('gateway', `${gateway.address} port ${gateway.port}, TCP and UDP; its way out are ordinary sockets`))

    const cut = new UdpCut()
    const client = await this.connect(cut)
    const pages = new IntranetClient(client, { url, signal, seconds: stepSeconds })
    const waited = await this.untilChannel(client, 'datagram')
    print(line('', `datagram channel up (DTLS over UDP) after another ${duration(waited)}, MTU ${client.mtu}`))
    print('\n')
    const greeting = await pages.page('/')
    if (greeting.trim() !== GREETING) throw new GatewayError('ERR_GATEWAY_HOST', "the page is not the intranet's")
    print(line('fetch', `${url}/ through the tunnel: ${greeting.trim()}`))
    await this.measure('datagram', client, pages)

    print('\n')
    const before = performance.now()
    const failover = this.untilChannel(client, 'stream')
    cut.active = true
    await pages.page('/whoami')
    const outage = performance.now() - before
    await failover
    print(
      line('UDP cut', `every datagram is dropped: traffic moved to the stream channel, out for ${duration(outage)}`),
    )
    await this.measure('stream', client, pages)

    print('\n')
    cut.active = false
    const returned = duration(await this.untilChannel(client, 'datagram'))
    print(line('UDP back', `traffic returned to the datagram channel after ${returned}`))
    await pages.page('/whoami')

    print('\n')
    const { requests, sources } = intranet
    const { sent, received } = client.stats()!
    const bytes = [sent, received].reduce((sum, { stream, datagram }) => sum + stream.bytes + datagram.bytes, 0)
    print(sightLines({ sources: [...sources], gatewayAddress: intranet.address, pool: this.pool, requests, bytes }))
    if ([...sources].some(source => source !== intranet.address)) {
      throw new GatewayError('ERR_GATEWAY_HOST', 'the intranet saw an address that it must not see')
    }
    const left = new Promise(resolve => gateway.once('session-closed', resolve))
    await Promise.all([client.stop(), within(left, stepSeconds, 'the end of the session', signal)])
  }

  private async openGateway(intranet: Intranet): Promise<Gateway> {
    const { setup, address, port, log } = this.options
    const { certificate, key } = setup.identity
    const gateway = await createGateway(
      {
        listen: { address, port },
        tls: { certificate, key },
        pool: { ipv4: this.pool },
        routes: { include: [`${this.intranetAddress}/32`] },
        auth: { users: setup.users },
      },
      {
        log,
        // The web server is at the gateway's own inside address, where nobody gets further than it.
        redirect: ({ address, port }, protocol) =>
          protocol === 'tcp' && address === this.intranetAddress && port === 80
            ? { address: intranet.address, port: intranet.port }
            : undefined,
      },
    )
    this.gateway = gateway
    this.undo.push(() => gateway.stop())
    try {
      await gateway.start()
    } catch (error) {
      throw withPortHint(error)
    }
    void gateway.stopped.then(failure => this.resolveStopped(failure))
    this.pin = gateway.pin
    this.url = `https://${gateway.address.includes(':') ? `[${gateway.address}]` : gateway.address}:${gateway.port}`
    return gateway
  }

  /** A client that is part of this process: no interface, no route, no name server of the system is touched. */
  private async connect(cut: UdpCut): Promise<TunnelClient> {
    const { setup, print, log } = this.options
    const { username, password } = setup
    const client = new TunnelClient({
      url: this.url,
      serverPin: this.pin,
      credentials: { username, password },
      interface: stackInterface(),
      openDatagramSocket: async options => cut.wrap(await openDatagramSocket(options)),
      log,
    })
    this.undo.push(() => client.stop())
    const start = performance.now()
    const parameters = await within(client.start(), stepSeconds, 'the tunnel', this.abort.signal)
    const took = duration(performance.now() - start)
    print(line('client', `inside this process, logged in as ${username}: has ${parameters.ipv4?.address}`))
    print(line('', `stream channel up (TLS over TCP) after ${took}`))
    return client
  }

  /** Waits until data goes by a channel. Returns for how long, in milliseconds. */
  private async untilChannel(client: TunnelClient, channel: ActiveChannel): Promise<number> {
    const start = performance.now()
    let onChange: ((event: { readonly to: ActiveChannel }) => void) | undefined
    const changed = new Promise<void>(resolve => {
      if (client.activeChannel === channel) resolve()
      onChange = ({ to }) => {
        if (to === channel) resolve()
      }
      client.on('channel-changed', onChange)
    })
    await within(changed, stepSeconds, `the ${channel} channel`, this.abort.signal)
    client.off('channel-changed', onChange)
    return performance.now() - start
  }

  /**
   * What one channel is capable of, and that it changes nothing on the way. On a very busy computer the client may leave
   * the datagram channel meanwhile: then it doesn't count.
   */
  private async measure(channel: ChannelKind, client: TunnelClient, pages: IntranetClient): Promise<void> {
    const file = randomBytes(FILE_BYTES)
    const sha256 = createHash('sha256').update(file).digest('hex')
    // The first packets find code that is not compiled yet, and would say more about that than about the channel.
    await pages.upload(file.subarray(0, WARM_UP_BYTES))
    for (let attempt = 1; attempt <= 3; attempt++) {
      await this.untilChannel(client, channel)
      const before = client.stats()
      const trips = await pages.roundTrips(ROUND_TRIPS)
      const upload = await pages.upload(file)
      const download = await pages.download()
      if (upload.sha256 !== sha256 || download.sha256 !== sha256) {
        throw new GatewayError('ERR_GATEWAY_HOST', 'the file that arrived is not the one sent')
      }
      if (carried(before, client.stats(), channel) < 2 * FILE_BYTES) continue
      const times = { uploadSeconds: upload.seconds, downloadSeconds: download.seconds }
      this.options.print(
        channelFigures(channel, { roundTripMs: trips[trips.length >> 1]!, bytes: FILE_BYTES, ...times }),
      )
      return
    }
    throw new GatewayError('ERR_GATEWAY_UNREACHABLE', `the client does not stay on the ${channel} channel`)
  }

  private async close(): Promise<void> {
    let failure: Error | undefined
    for (const step of this.undo.splice(0).reverse()) {
      // What can't be taken back in time must not keep the rest.
      const late = new AbortController().signal
      await within(Promise.resolve(step()), stepSeconds, 'the end', late).catch((error: Error) => {
        failure ??= error
      })
    }
    this.resolveStopped(failure)
  }
}

/** Bytes that a channel carried between two looks at the counters. */
function carried(before: SessionStats | undefined, after: SessionStats | undefined, channel: ChannelKind): number {
  if (!before || !after) return 0
  const sum = ({ sent, received }: SessionStats) => sent[channel].bytes + received[channel].bytes
  return sum(after) - sum(before)
}

/** Addresses for clients, out of the way of this host's own. */
function choosePool(): string {
  const own = Object.values(networkInterfaces()).flatMap(entries => entries?.map(({ address }) => address) ?? [])
  const isFree = (pool: string) => {
    const prefix = Prefix.of(pool)
    return !own.some(text => {
      const address = IpAddress.parse(text)
      return address !== undefined && address.family === prefix.family && prefix.contains(address)
    })
  }
  const candidates = ['192.168.77.0/24', '10.77.77.0/24', '172.27.77.0/24']
  return candidates.find(isFree) ?? candidates[0]!
}

function withPortHint(error: unknown): unknown {
  if (!(error instanceof GatewayError) || (error.cause as NodeJS.ErrnoException | undefined)?.code !== 'EADDRINUSE') {
    return error
  }
  return new GatewayError(error.code, `${error.message}; --port takes another one`, { cause: error })
}
