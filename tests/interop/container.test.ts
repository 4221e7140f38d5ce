// What Containerfile and compose.yaml say, carried out without a container engine: the same files at the same places, a
// read-only root, user 1000, no capability. It checks that the gateway runs so, not that an image can be built.
import { chmodSync, chownSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { parse, stringify } from 'yaml'
import { connect, type TunnelClient } from '../../packages/gateway-ref/src/index.ts'
import { memoryPair } from '../../packages/tun/src/index.ts'
import { type LabCertificates, makeCertificates } from '../lab/certificates.ts'
import { LabProcess } from '../lab/lab-process.ts'
import { needs } from '../lab/needs.ts'
import { addUser } from '../lab/twinbore.ts'
import { Workspace } from '../lab/workspace.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))
const script = fileURLToPath(new URL('../lab/container.sh', import.meta.url))

/** The last stage of the Containerfile, as instructions and their words. */
function lastStage(): { instruction: string; words: string[] }[] {
  const lines = readFileSync(`${root}Containerfile`, 'utf8').split('\n')
  const stage = lines.slice(lines.findLastIndex(line => line.startsWith('FROM ')))
  return stage
    .filter(line => /^[A-Z]/.test(line))
    .map(line => {
      const [instruction, ...words] = line.split(' ')
      return { instruction: instruction!, words }
    })
}

const wordsOf = (instruction: string) => lastStage().find(line => line.instruction === instruction)!.words
const listOf = (instruction: string) => JSON.parse(wordsOf(instruction).join(' ')) as string[]

test('compose.yaml asks for what the Containerfile promises', () => {
  const { gateway } = (parse(readFileSync(`${root}compose.yaml`, 'utf8')) as { services: Record<string, object> })
    .services
  expect(gateway).toMatchObject({
    build: { dockerfile: 'Containerfile' },
    user: wordsOf('USER')[0],
    read_only: true,
    cap_drop: ['ALL'],
    security_opt: ['no-new-privileges:true'],
    ports: wordsOf('EXPOSE').map(port => `${port.split('/')[0]}:${port}`),
  })
})

needs(
  'root',
  'setpriv',
  'unshare',
  'openssl',
)('the layout of the container', () => {
  let workspace: Workspace
  let emptyRoot: Workspace
  let certificates: LabCertificates
  let gateway: LabProcess
  let tunnel: TunnelClient | undefined

  beforeAll(async () => {
    workspace = new Workspace()
    certificates = await makeCertificates(workspace)
    await addUser(workspace, 'alice', 'secret')
    const config = {
      listen: { address: '127.0.0.1', port: 0 },
      tls: { certificate: 'gateway.crt', key: 'gateway.key' },
      pool: { ipv4: '192.168.77.0/24' },
      auth: { users: 'users.yaml' },
    }
    workspace.write('gateway.yaml', stringify(config))
    chmodSync(workspace.folder, 0o755)
    for (const name of ['gateway.yaml', 'users.yaml', 'gateway.crt', 'gateway.key']) {
      chownSync(workspace.path(name), 1000, 1000)
    }
    emptyRoot = new Workspace()
    chownSync(emptyRoot.folder, 1000, 1000)
    const copies = lastStage()
      .filter(({ instruction }) => instruction === 'COPY')
      .map(({ words: [, source, target] }) => `${source!.replace('/app/', root)}:${target}`)
    gateway = new LabProcess('setpriv', [
      ...['--reuid', '1000', '--regid', '1000', '--clear-groups'],
      ...['unshare', '--user', '--map-root-user', '--mount', '--propagation', 'private', 'sh', script],
      ...[emptyRoot.folder, process.execPath, wordsOf('WORKDIR')[0]!],
      ...[...copies, `${workspace.folder}:/etc/twinbore`, '--'],
      ...[...listOf('ENTRYPOINT'), ...listOf('CMD')],
    ])
    await gateway.waitFor(/listening on 127\.0\.0\.1:\d+.*\n/, { stdoutOnly: true })
  })
  afterAll(async () => {
    await tunnel?.stop()
    await gateway?.stop()
    workspace?.remove()
    emptyRoot?.remove()
  })

  test('has no capability, is not root, and can write nowhere', () => {
    const status = readFileSync(`/proc/${gateway.pid}/status`, 'utf8')
    expect(status).toMatch(/^Uid:\t1000\t1000\t1000\t1000$/m)
    expect(status).toMatch(/^CapEff:\t0+$/m)
    expect(status).toMatch(/^NoNewPrivs:\t1$/m)
    const mounts = readFileSync(`/proc/${gateway.pid}/mounts`, 'utf8').trim().split('\n')
    const modes = mounts.map(line => line.split(' ')).map(([, place, , options]) => [place, options!.split(',')[0]])
    for (const place of ['/', '/usr', '/app/packages', '/app/node_modules', '/etc/twinbore']) {
      expect(modes.filter(([at]) => at === place).at(-1)).toEqual([place, 'ro'])
    }
  })

  test('lets a client in, and carries its packets on both channels', async () => {
    const port = /listening on 127\.0\.0\.1:(\d+)/.exec(gateway.stdout)![1]
    const [near] = memoryPair()
    tunnel = await connect({
      url: `https://127.0.0.1:${port}`,
      serverPin: certificates.gatewayPin,
      credentials: { username: 'alice', password: 'secret' },
      interface: () => ({ device: near, close: () => near.close() }),
    })
    const { activeChannel } = tunnel
    if (activeChannel !== 'datagram') {
      await new Promise<void>(resolve => tunnel!.on('channel-changed', ({ to }) => to === 'datagram' && resolve()))
    }
    expect(tunnel.activeChannel).toBe('datagram')
  })
})
