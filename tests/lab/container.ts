// The layout of the Containerfile, run as an engine runs compose.yaml, without an engine: see container.sh.
import { chownSync, mkdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { LabNetwork } from './lab-network.ts'
import { type LabProcess, mustRun } from './lab-process.ts'
import type { Workspace } from './workspace.ts'

const script = fileURLToPath(new URL('./container.sh', import.meta.url))
const layOut = fileURLToPath(new URL('../../scripts/lay-out.mjs', import.meta.url))

/** The user of the container, outside and inside. */
export const containerUser = 1000

export interface ContainerFolders {
  /** What `scripts/lay-out.mjs` made: /opt/twinbore inside. */
  readonly layout: string
  /** /etc/twinbore inside; its files belong to the container's user. */
  readonly configuration: string
  /** Where the root file system is put together; empty outside of the container. */
  readonly root: string
}

/** Makes the folders of a container, with the program laid out. */
export async function layOutContainer(workspace: Workspace): Promise<ContainerFolders> {
  const folders = {
    layout: workspace.path('layout'),
    configuration: workspace.path('configuration'),
    root: workspace.path('root'),
  }
  for (const folder of [folders.configuration, folders.root]) {
    mkdirSync(folder)
    chownSync(folder, containerUser, containerUser)
  }
  await mustRun(process.execPath, [layOut, folders.layout])
  return folders
}

/** Starts a command (`/opt/node` is Node.js) in a container on a host of the laboratory. */
export function startContainer(
  network: LabNetwork,
  folders: ContainerFolders,
  command: readonly string[],
  env: Readonly<Record<string, string>> = {},
): LabProcess {
  const user = ['--reuid', `${containerUser}`, '--regid', `${containerUser}`, '--clear-groups']
  const namespaces = ['--user', '--map-root-user', '--mount', '--pid', '--fork', '--kill-child']
  const { root, layout, configuration } = folders
  const container = ['sh', script, root, layout, configuration, process.execPath, ...command]
  // As in the image, nothing of this process's environment but the search path.
  const environment = [
    '-i',
    `PATH=${process.env.PATH}`,
    ...Object.entries(env).map(([name, value]) => `${name}=${value}`),
  ]
  return network.start('gateway', 'env', [...environment, 'setpriv', ...user, 'unshare', ...namespaces, ...container])
}

/** The container's first process as this computer sees it: `unshare` stays as its parent. */
export function firstProcessOf(container: LabProcess): number {
  const { pid } = container
  return Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ')[0])
}
