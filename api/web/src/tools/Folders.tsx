// Folders, and what lies in them.

import type { Schemas } from '../api/client';

type Folder = Schemas['FolderInfo'] & { children?: Folder[] };

function contentOf({ agent_count: agents, subfolder_count: folders }: Folder): string {
  const counts = [
    agents > 0 && (agents === 1 ? '1 agent' : `${agents} agents`),
    folders > 0 && (folders === 1 ? '1 folder' : `${folders} folders`),
  ];
  return counts.filter(Boolean).join(', ') || 'empty';
}

export function Folders({ folders }: { folders: readonly Folder[] }) {
  if (folders.length === 0) return <p className="faint">No folders.</p>;
  return (
    <ul className="plain">
      {folders.map((folder) => (
        <li key={folder.id}>
          <span aria-hidden="true">{folder.icon || '▸'}</span> {folder.name} <span className="faint">· {contentOf(folder)}</span>
          {folder.children && folder.children.length > 0 && <Folders folders={folder.children} />}
        </li>
      ))}
    </ul>
  );
}
