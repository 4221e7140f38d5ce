import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { gatewayCommand } from '../../src/cli/io/gateway-command.ts'
import type { GatewayConfig } from '../../src/config/gateway-config.ts'
import type { RunnableGateway } from '../../src/gateway.ts'
import { makeGatewayFiles } from '../config/gateway-files.ts'
import { rightConfiguration } from '../config/wrong-configurations.ts'
import { TestContext } from './run-main.ts'

let folder: string
let file: string
beforeAll(async () => {
  folder = await makeGatewayFiles()
  file = join(folder, 'gateway.yaml')
})
beforeEach(() => writeFile(file, `${rightConfiguration}log: { format: json }\n`))
afterAll(() => rm(folder, { recursive: true }))

describe('a gateway that runs', () => {
  test('is told on standard output in one line, with address and port', async () => {
    const { context, ended, gateway } = run({})
    await context.until('out', /\n/)
    expect(context.out).toBe('ready: listening on 0.0.0.0:443, TCP and UDP\n')
    context.signals.emit('SIGTERM', 'SIGTERM')
    gateway.end()
    await ended
    expect(gateway.calls).toEqual(['start', 'stop'])
    expect(context.out).toBe('ready: listening on 0.0.0.0:443, TCP and UDP\n')
  })

  test('with an IPv6 address has it in brackets', async () => {
    const { context, ended, gateway } = run({ environment: { TWINBORE_LISTEN_ADDRESS: '::1' } })
    await context.until('out', /\n/)
    expect(context.out).toBe('ready: listening on [::1]:443, TCP and UDP\n')
    gateway.end()
    await ended
  })

  test.each(['SIGTERM', 'SIGINT'])('stops in order on %s, and at once on the second signal', async signal => {
    const { context, ended, gateway } = run({})
    await context.until('out', /ready/)
    context.signals.emit(signal, signal)
    context.signals.emit('SIGINT', 'SIGINT')
    expect(gateway.calls).toEqual(['start', 'stop', 'stop immediately'])
    gateway.end()
    await ended
    expect(context.signals.eventNames()).toEqual([])
  })

  test('that ends by itself fails with its reason', async () => {
    const { context, ended, gateway } = run({})
    await context.until('out', /ready/)
    gateway.end(new Error('the device is gone'))
    await expect(ended).rejects.toThrow('the device is gone')
  })

  test('that can not stop fails', async () => {
    const { context, ended, gateway } = run({})
    await context.until('out', /ready/)
    gateway.failStop = new Error('route stays')
    context.signals.emit('SIGTERM', 'SIGTERM')
    await expect(ended).rejects.toThrow('route stays')
  })
})

describe('a start', () => {
  test('that fails is a failure, without a ready line', async () => {
    const { context, ended, gateway } = run({ manualStart: true })
    await gateway.starting
    gateway.failStart(new Error('port 443 is taken'))
    await expect(ended).rejects.toThrow('port 443 is taken')
    expect(context.out).toBe('')
  })

  test('that a signal breaks off is none', async () => {
    const { context, ended, gateway } = run({ manualStart: true })
    await gateway.starting
    context.signals.emit('SIGINT', 'SIGINT')
    gateway.failStart(new Error('stopped'))
    await ended
    expect(context.out).toBe('')
  })
})

describe('SIGHUP', () => {
  test('hands the configuration of now over', async () => {
    const { context, ended, gateway } = run({})
    await context.until('out', /ready/)
    await writeFile(file, rightConfiguration.replace('maxSeconds: 3600', 'maxSeconds: 7200'))
    context.signals.emit('SIGHUP', 'SIGHUP')
    await context.until('err', /configuration reloaded/)
    expect(gateway.calls).toEqual(['start', 'reload 7200'])
    gateway.end()
    await ended
  })

  test('with a mistake in it changes nothing, and tells every mistake', async () => {
    const { context, ended, gateway } = run({})
    await context.until('out', /ready/)
    await writeFile(file, rightConfiguration.replace('3600', 'long').replace('/24', '/40'))
    context.signals.emit('SIGHUP', 'SIGHUP')
    await context.until('err', /not reloaded/)
    expect(context.err).toContain(`pool.ipv4: '192.168.77.0/40' is not an IPv4 prefix`)
    expect(context.err).toContain(`session.maxSeconds: 'long' is not a number of seconds`)
    expect(gateway.calls).toEqual(['start'])
    gateway.end()
    await ended
  })

  test('that the gateway refuses is logged, and the next one counts', async () => {
    const { context, ended, gateway } = run({})
    await context.until('out', /ready/)
    gateway.failReload = new Error('the port can not change while it runs')
    context.signals.emit('SIGHUP', 'SIGHUP')
    await context.until('err', /the port can not change/)
    gateway.failReload = undefined
    context.signals.emit('SIGHUP', 'SIGHUP')
    await context.until('err', /configuration reloaded/)
    gateway.end()
    await ended
  })

  test('before the gateway is ready waits until it is', async () => {
    const { context, ended, gateway } = run({ manualStart: true })
    await gateway.starting
    context.signals.emit('SIGHUP', 'SIGHUP')
    gateway.finishStart()
    await context.until('err', /configuration reloaded/)
    expect(gateway.calls).toEqual(['start', 'reload 3600'])
    gateway.end()
    await ended
  })
})

test('warnings of the configuration are logged', async () => {
  await writeFile(file, `${rightConfiguration.replace('[10.2.0.2]', '[10.9.0.2]')}log: { format: json }\n`)
  const { context, ended, gateway } = run({})
  await context.until('out', /ready/)
  const line = JSON.parse(context.err.split('\n')[0]!) as Record<string, unknown>
  expect(line).toMatchObject({ level: 'warn' })
  expect(line.msg).toContain(`gateway.yaml:4: dns.servers[0]: '10.9.0.2' is not routed into the tunnel`)
  gateway.end()
  await ended
})

// Stands in for a gateway: notes what it is told, and does it when the test says so.
class ScriptedGateway implements RunnableGateway {
  readonly calls: string[] = []
  readonly stopped: Promise<Error | undefined>
  readonly starting: Promise<void>
  readonly pin = 'pin-sha256:'
  failStop: Error | undefined
  failReload: Error | undefined
  end!: (failure?: Error) => void
  finishStart!: () => void
  failStart!: (error: Error) => void
  private noteStarting!: () => void
  private readonly started: Promise<void>
  private readonly config: GatewayConfig

  constructor(config: GatewayConfig) {
    this.config = config
    this.stopped = new Promise(resolve => {
      this.end = resolve
    })
    this.starting = new Promise(resolve => {
      this.noteStarting = resolve
    })
    this.started = new Promise((resolve, reject) => {
      this.finishStart = resolve
      this.failStart = reject
    })
  }

  get address(): string {
    return this.config.listen.address
  }

  get port(): number {
    return this.config.listen.port
  }

  start(): Promise<void> {
    this.calls.push('start')
    this.noteStarting()
    return this.started
  }

  async reload(config: GatewayConfig): Promise<void> {
    if (this.failReload) throw this.failReload
    this.calls.push(`reload ${config.session.maxSeconds}`)
  }

  async stop(options: { readonly immediately?: boolean } = {}): Promise<void> {
    this.calls.push(options.immediately ? 'stop immediately' : 'stop')
    if (this.failStop) throw this.failStop
  }
}

function run(options: { manualStart?: boolean; environment?: Record<string, string> }) {
  const context = new TestContext({ environment: options.environment ?? {} })
  let resolveGateway: (gateway: ScriptedGateway) => void
  const made = new Promise<ScriptedGateway>(resolve => {
    resolveGateway = resolve
  })
  let gateway: ScriptedGateway | undefined
  const ended = gatewayCommand({ config: file }, context, config => {
    gateway = new ScriptedGateway(config)
    if (!options.manualStart) gateway.finishStart()
    resolveGateway(gateway)
    return gateway
  })
  // The gateway exists once its configuration has been read; until then, calls wait for it.
  const proxy = {
    get calls() {
      return gateway!.calls
    },
    get starting() {
      return made.then(({ starting }) => starting)
    },
    end: (failure?: Error) => gateway!.end(failure),
    finishStart: () => gateway!.finishStart(),
    failStart: (error: Error) => gateway!.failStart(error),
    set failStop(error: Error | undefined) {
      gateway!.failStop = error
    },
    set failReload(error: Error | undefined) {
      gateway!.failReload = error
    },
  }
  return { context, ended, gateway: proxy }
}
