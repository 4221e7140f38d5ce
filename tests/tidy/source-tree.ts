// The repository as the tidy tests see it: its files, its packages, and who imports whom.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'

export const root: string = dirname(dirname(dirname(fileURLToPath(import.meta.url))))

const generated = new Set(['node_modules', 'dist', 'coverage', '.git', '.twinbore', '.cache', 'api'])

export interface PackageManifest {
  readonly name: string
  readonly bin?: Readonly<Record<string, string>>
  readonly exports: Readonly<Record<string, string | Readonly<Record<string, string>>>>
  readonly dependencies?: Readonly<Record<string, string>>
  readonly optionalDependencies?: Readonly<Record<string, string>>
  readonly devDependencies?: Readonly<Record<string, string>>
  readonly scripts?: Readonly<Record<string, string>>
}

export interface Import {
  /** As written, or for a relative one the imported file's path from the root. */
  readonly target: string
  readonly relative: boolean
}

/** Every file under `folder`, as paths from the root. */
export function filesUnder(folder: string): string[] {
  const start = join(root, folder)
  if (!existsSync(start)) return []
  return readdirSync(start, { withFileTypes: true }).flatMap(entry => {
    if (generated.has(entry.name)) return []
    const path = folder === '.' ? entry.name : `${folder}/${entry.name}`
    return entry.isDirectory() ? filesUnder(path) : entry.isFile() ? [path] : []
  })
}

export function read(path: string): string {
  return readFileSync(join(root, path), 'utf8')
}

export const allFiles: readonly string[] = filesUnder('.')
export const typeScriptFiles: readonly string[] = allFiles.filter(file => file.endsWith('.ts'))

export const packageNames: readonly string[] = readdirSync(join(root, 'packages')).filter(name =>
  existsSync(join(root, 'packages', name, 'package.json')),
)

export function manifestOf(folder: string): PackageManifest {
  return JSON.parse(read(folder === '.' ? 'package.json' : `${folder}/package.json`)) as PackageManifest
}

/** The source of each public subpath of a package: `['@twinbore/core/packet', 'packages/core/src/packet/index.ts']`. */
export function publicSubpaths(name: string): [string, string][] {
  const manifest = manifestOf(`packages/${name}`)
  return Object.entries(manifest.exports).flatMap(([subpath, conditions]) =>
    typeof conditions === 'string'
      ? []
      : [[manifest.name + subpath.slice(1), normalize(`packages/${name}/${conditions['@twinbore/source']}`)]],
  )
}

/** Whether a source file belongs to the hands: an `io/` folder, or the program itself. */
export function isHands(file: string): boolean {
  return file.split('/').includes('io') || file === 'packages/gateway-ref/src/bin.ts'
}

/** What a file imports, re-exports, or names by `new URL('./x.ts', import.meta.url)` (a worker's entry). */
export function importsOf(file: string): Import[] {
  const text = read(file)
  const named = ts.preProcessFile(text, true, true).importedFiles.map(found => found.fileName)
  const urls = [...text.matchAll(/new URL\('(\.[^']+)', import\.meta\.url\)/g)].map(match => match[1]!)
  return [...named, ...urls].map(target => {
    if (!target.startsWith('.')) return { target, relative: false }
    return { target: relative(root, join(root, dirname(file), target.replace(/\.js$/, '.ts'))), relative: true }
  })
}

/** The files that can be reached from `entries`, following relative imports and imports of our own packages. */
export function reachableFrom(entries: readonly string[]): Set<string> {
  const subpaths = new Map(packageNames.flatMap(publicSubpaths))
  const seen = new Set<string>()
  const waiting = [...entries]
  for (let file = waiting.pop(); file !== undefined; file = waiting.pop()) {
    if (seen.has(file) || !existsSync(join(root, file))) continue
    seen.add(file)
    if (!/\.(ts|mjs)$/.test(file)) continue
    for (const found of importsOf(file)) {
      const target = found.relative ? found.target : subpaths.get(found.target)
      if (target) waiting.push(target)
    }
  }
  return seen
}
