class Teacher: ...


def load_teacher(path):
    raise NotImplementedError
