// Files of the workspace.

import { bytes } from '../page/numbers';

interface FileRow {
  path: string;
  size_bytes: number;
  mime_type: string;
}

export function Files({ files }: { files: FileRow[] }) {
  if (files.length === 0) return <p className="faint">No files.</p>;
  return (
    <ul className="plain">
      {files.map(({ path, size_bytes, mime_type }) => (
        <li key={path}>
          <code>{path}</code> <span className="faint">{`${bytes(size_bytes)} · ${mime_type}`}</span>
        </li>
      ))}
    </ul>
  );
}
