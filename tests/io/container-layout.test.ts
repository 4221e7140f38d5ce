// What the Containerfile and compose.yaml promise: the gateway runs as an ordinary user, without a capability, on a read-only
// root, as the first process. Shown without an engine, in namespaces that an ordinary user may make; and with podman where it
// works and has the base image (an image is never fetched here).
import { spawnSync } from 'node:child_process'
import { chownSync, copyFileSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { type LabCertificates, makeCertificates } from '../lab/certificates.ts'
import {
  type ContainerFolders,
  containerUser,
  firstProcessOf,
  layOutContainer,
  startContainer,
} from '../lab/container.ts'
import { readStages, textsOf, wordsOf } from '../lab/containerfile.ts'
import { findProgram } from '../lab/find-program.ts'
import { corporateAddress, gatewayAddress, gatewayInsideAddress, LabNetwork } from '../lab/lab-network.ts'
import { type LabProcess, mustRun } from '../lab/lab-process.ts'
import { needs } from '../lab/needs.ts'
import { connectOpenconnect } from '../lab/openconnect.ts'
import { startFileServer } from '../lab/traffic.ts'
import { configureGateway } from '../lab/twinbore.ts'
import { Workspace } from '../lab/workspace.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const stages = readStages(join(root, 'Containerfile'))
const image = stages.at(-1)!
const environment = Object.fromEntries(textsOf(image, 'ENV').map(text => text.split('=') as [string, string]))
const port = environment.TWINBORE_LISTEN_PORT!
const command = [...wordsOf(image, 'ENTRYPOINT'), ...wordsOf(image, 'CMD')]

describe('the Containerfile', () => {
  test('is an ordinary user’s, with one port and one volume', () => {
    expect(textsOf(image, 'USER')).toEqual([`${containerUser}:${containerUser}`])
    expect(textsOf(image, 'EXPOSE')).toEqual([`${port}/tcp ${port}/udp`])
    expect(textsOf(image, 'VOLUME')).toEqual(['/etc/twinbore'])
    expect(textsOf(image, 'STOPSIGNAL')).toEqual(['SIGTERM'])
  })

  test('takes from its first stage what is laid out, and runs nothing as root after that', () => {
    const steps = textsOf(stages[0]!, 'RUN').join(' && ').split(' && ')
    expect(steps).toEqual(['npm ci', 'npm run build', 'node scripts/lay-out.mjs /layout'])
    expect(textsOf(image, 'COPY')).toEqual(['--from=build /layout /opt/twinbore'])
    expect(textsOf(image, 'RUN')).toEqual([])
  })

  test('names stock images and no registry', () => {
    for (const file of ['Containerfile', 'compose.yaml']) {
      expect(readFileSync(join(root, file), 'utf8')).not.toMatch(/[\w-]+\.(?:io|com|org|net|dev)\b(?!\.)/)
    }
    for (const stage of stages) expect(textsOf(stage, 'FROM')[0]).toMatch(/^\$\{NODE_IMAGE\}( AS build)?$/)
  })
})

describe('compose.yaml', () => {
  const { services } = parse(readFileSync(join(root, 'compose.yaml'), 'utf8')) as {
    services: { gateway: Record<string, unknown> }
  }
  const { gateway } = services

  test('takes every right away', () => {
    expect(gateway).toMatchObject({
      user: `${containerUser}:${containerUser}`,
      read_only: true,
      cap_drop: ['ALL'],
      security_opt: ['no-new-privileges:true'],
      tmpfs: ['/tmp'],
      volumes: ['./twinbore:/etc/twinbore:ro'],
    })
    for (const right of ['privileged', 'cap_add', 'devices', 'network_mode', 'pid']) {
      expect(gateway).not.toHaveProperty(right)
    }
  })

  test('publishes TCP and UDP on the number that the gateway listens on', () => {
    const number = `\${TWINBORE_LISTEN_PORT:-${port}}`
    expect(gateway.environment).toEqual({ TWINBORE_LISTEN_PORT: number })
    expect(gateway.ports).toEqual([`${number}:${number}/tcp`, `${number}:${number}/udp`])
  })
})

needs(
  'root',
  'tun',
  'user-namespaces',
  'ip',
  'openssl',
  'openconnect',
  'curl',
  'setpriv',
  'unshare',
)('the layout of the image in an unprivileged user namespace', () => {
  let network: LabNetwork
  let workspace: Workspace
  let certificates: LabCertificates
  let folders: ContainerFolders
  let gateway: LabProcess
  const inside = (words: readonly string[], env = environment) =>
    startContainer(
      network,
      folders,
      words.map(word => (word === 'node' ? '/opt/node' : word)),
      env,
    )

  beforeAll(async () => {
    workspace = new Workspace()
    network = await LabNetwork.create()
    certificates = await makeCertificates(workspace)
    folders = await layOutContainer(workspace)
    await startFileServer(network)
    const file = await configureGateway(workspace, {
      certificates,
      // Relative names, so that the folder may be anywhere; the port of the environment wins.
      config: { tls: { certificate: 'site.crt', key: 'site.key' }, egress: { mode: 'sockets' } },
    })
    for (const [from, name] of [
      [file, 'gateway.yaml'],
      [workspace.path('users.yaml'), 'users.yaml'],
      [certificates.gateway.certificate, 'site.crt'],
      [certificates.gateway.key, 'site.key'],
    ] as const) {
      copyFileSync(from, join(folders.configuration, name))
      chownSync(join(folders.configuration, name), containerUser, containerUser)
    }
    gateway = inside(command)
    await gateway.waitFor(new RegExp(`ready: listening on 0\\.0\\.0\\.0:${port}, TCP and UDP\n`), { stdoutOnly: true })
  })
  afterAll(async () => {
    await network?.close()
    workspace?.remove()
  })

  test('has production dependencies only', () => {
    const present = readdirSync(join(folders.layout, 'node_modules'))
    expect(present).toEqual(expect.arrayContaining(['@twinbore', 'koffi', 'pino', 'yaml']))
    const tools = ['typescript', 'vitest', 'tsx', '@types', 'esbuild', 'fast-check']
    expect(present.filter(name => tools.includes(name))).toEqual([])
  })

  test('the gateway is the first process, of an ordinary user, without capabilities or a way to them', () => {
    const status = readFileSync(`/proc/${firstProcessOf(gateway)}/status`, 'utf8')
    expect(status).toMatch(/^Name:\t(node|MainThread)$/m)
    expect(status).toMatch(/^NSpid:\t.*\t1$/m)
    expect(status).toMatch(/^Uid:\t1000\t1000\t1000\t1000$/m)
    expect(status).toMatch(/^NoNewPrivs:\t1$/m)
    for (const set of ['Inh', 'Prm', 'Eff', 'Bnd', 'Amb']) expect(status).toMatch(new RegExp(`^Cap${set}:\\t0+$`, 'm'))
  })

  test('it can write to /tmp and nowhere else', async () => {
    const places = ['/', '/tmp', '/usr', '/opt/twinbore', '/etc/twinbore']
    const attempt = `for (const place of ${JSON.stringify(places)})
      try { require('fs').writeFileSync(place + '/file', ''); console.log(place, 'written') }
      catch (error) { console.log(place, error.code) }`
    const { stdout } = await inside(['node', '-e', attempt], {}).finished
    expect(stdout.trim().split('\n')).toEqual([
      '/ EROFS',
      '/tmp written',
      '/usr EROFS',
      '/opt/twinbore EROFS',
      '/etc/twinbore EROFS',
    ])
  })

  test('the demonstration runs there too', async () => {
    const { code, stdout } = await inside([command[0]!, command[1]!, 'demo', '--once', '--port', '0'], {}).finished
    expect(code, stdout).toBe(0)
    expect(stdout).toContain("made a certificate authority and a user 'demo' in /tmp/twinbore-")
    expect(stdout).toContain('nobody from 192.168.77.0/24')
  })

  test('a stock client fetches through it, by both channels, and the intranet sees the gateway', async () => {
    const url = `https://${gatewayAddress}:${port}`
    const { gatewayPin: serverPin } = certificates
    const client = await connectOpenconnect(network, { url, serverPin, user: 'alice', passwords: ['secret'] })
    const headers = await network.mustRun('client', 'curl', [
      ...['-sS', '--max-time', '30', '-D', '-', '-o', '/dev/null', '-w', '%{size_download}'],
      `http://${corporateAddress}:8080/1000000`,
    ])
    expect(headers).toMatch(/\n1000000$/)
    expect(/x-peer: (\S+)/.exec(headers)?.[1]?.replace('::ffff:', '')).toBe(gatewayInsideAddress)
    await client.stop('SIGINT')
  })

  test('its health check succeeds while it listens', async () => {
    const [program, ...words] = wordsOf(image, 'HEALTHCHECK')
    expect(program).toBe('node')
    const check = (env: Record<string, string>) => network.run('gateway', process.execPath, words, { env })
    expect(await check(environment)).toMatchObject({ code: 0 })
    expect(await check({ TWINBORE_LISTEN_PORT: '1' })).toMatchObject({ code: 1 })
  })

  test('it ends in good order when the engine asks for it, without an init', async () => {
    const session = await connectOpenconnect(network, {
      url: `https://${gatewayAddress}:${port}`,
      serverPin: certificates.gatewayPin,
      user: 'alice',
      passwords: ['secret'],
    })
    process.kill(firstProcessOf(gateway), 'SIGTERM')
    expect(await gateway.finished).toMatchObject({ code: 0 })
    expect(gateway.output).toContain('gateway-shutdown')
    await session.stop('SIGINT')
  })
})

// Not a need of the suite: a machine without an engine, or without the base image, shows the same by the layout above.
const base = /^ARG NODE_IMAGE=(\S+)$/m.exec(readFileSync(join(root, 'Containerfile'), 'utf8'))![1]!
const podman = (...words: string[]) => spawnSync('podman', words, { encoding: 'utf8' })
// Podman may be there and not work: only a container that has run says so.
const podmanWorks =
  !!findProgram('podman') &&
  podman('image', 'exists', base).status === 0 &&
  podman('run', '--rm', '--pull=never', '--network=none', base, 'node', '--version').status === 0

describe.each(podmanWorks ? [`twinbore-test-${process.pid}`] : [])('the image, built by podman as %s', tag => {
  afterAll(() => void podman('image', 'rm', '--force', tag))

  test('runs with the rights of compose.yaml', async () => {
    const file = join(root, 'Containerfile')
    await mustRun('podman', ['build', '--pull=never', '--tag', tag, '--file', file, root], { timeoutMs: 300_000 })
    const rights = ['--read-only', '--cap-drop=all', '--security-opt=no-new-privileges', '--tmpfs=/tmp']
    expect(await mustRun('podman', ['run', '--rm', '--network=none', ...rights, tag, '--version'])).toBe('0.1.0\n')
  }, 360_000)
})
