// A folder of files that a suite needs (configurations, certificates, captures), removed with the test process.
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const open = new Set<string>()
process.on('exit', () => {
  for (const folder of open) rmSync(folder, { recursive: true, force: true })
})

export class Workspace {
  readonly folder: string

  constructor() {
    this.folder = mkdtempSync(join(tmpdir(), 'twinbore-lab-'))
    // A server that gives up its privileges must still find its socket in here.
    chmodSync(this.folder, 0o711)
    open.add(this.folder)
  }

  path(name: string): string {
    return join(this.folder, name)
  }

  write(name: string, text: string, mode = 0o600): string {
    const file = this.path(name)
    writeFileSync(file, text, { mode })
    return file
  }

  remove(): void {
    open.delete(this.folder)
    rmSync(this.folder, { recursive: true, force: true })
  }
}
